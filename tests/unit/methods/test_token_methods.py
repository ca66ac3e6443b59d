"""MSL, IGD and CFT, from fit to ranking, on toy data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.errors import UsageError
from recbench.llm.decoding.validation import validator
from recbench.llm.items.edges import EdgeScores
from recbench.llm.method import LLMMethod
from recbench.llm.model import policy as policies
from recbench.llm.signals.temperature import RECORD
from recbench.llm.training.counterfactual import with_empty_prompts
from recbench.llm.training.examples import next_item
from recbench.method import LLMRun
from recbench.ranking import Ranking
from recbench.settings import BeamRanker, ExactRanker
from recbench.testing import tiny_settings, toy_run
from recbench_methods.cft import CFT
from recbench_methods.igd import IGD
from recbench_methods.msl import MSL
from recbench_methods.sft import SFT
from tests.unit.methods.conftest import DATA, Curve, fit_and_rank, weights


def run_of(
    folder: Path,
    *,
    curve: Curve | None = None,
    ranker: ExactRanker | BeamRanker | None = None,
    **settings: Any,
) -> LLMRun:
    llm = tiny_settings(**{"epochs": 2.0, "batch": 8, **settings})
    llm = replace(llm, ranker=ranker or ExactRanker(normalise="children"))
    return replace(toy_run(folder, llm=llm), report=curve or Curve())


METHODS: list[LLMMethod] = [
    MSL(),
    MSL(tau=3.0),
    MSL(adaptive=True),
    MSL(bear=0.25),
    IGD(),
    IGD(alpha=0.2),
    CFT(),
]


@pytest.mark.parametrize("pack", ["none", "user-blocks"])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_fits_from_the_base_and_ranks(tmp_path: Path, method: LLMMethod, pack: str) -> None:
    run = run_of(tmp_path / "fit", pack=pack)
    ranking = fit_and_rank(method, run)
    ranking.check(DATA.valid.requests, num_items=12, depth=5)
    assert ranking.certified is not None
    assert ranking.certified.all()


@pytest.mark.parametrize("method", [MSL(), IGD(), CFT()], ids=["msl", "igd", "cft"])
def test_titles_are_learned_too(tmp_path: Path, method: LLMMethod) -> None:
    ranking = fit_and_rank(method, run_of(tmp_path / "fit", paradigm="title", max_rows=8))
    ranking.check(DATA.valid.requests, num_items=12, depth=5)


def test_factors_of_the_fit_and_of_the_ranker_are_refused_before_training(tmp_path: Path) -> None:
    run = run_of(tmp_path / "fit")
    run = replace(run, llm=replace(run.llm, ranker=ExactRanker(alpha=0.2)))
    with pytest.raises(UsageError, match=r"igd:alpha=0.1 and the ranker's alpha=0.2 would be multiplied"):
        IGD(alpha=0.1).fit(DATA, run=run)


def test_an_adaptive_temperature_is_not_given() -> None:
    assert MSL(adaptive=True).tau == 1.5
    with pytest.raises(ValueError, match="adaptive=true finds tau itself"):
        MSL(adaptive=True, tau=3.0)


def same_weights(first: LLMRun, second: LLMRun) -> bool:
    other = weights(second)
    return all(torch.equal(tensor, other[name]) for name, tensor in weights(first).items())


@pytest.mark.parametrize(
    "method", [IGD(beta=1.0), CFT(alpha=0.0, beta=1.0)], ids=["igd with beta 1", "cft without its terms"]
)
def test_limit_cases_are_sft(tmp_path: Path, method: LLMMethod) -> None:
    """CFT's rows have the empty prompt beside the others, so that its sums are in another order."""
    sft, other = (run_of(tmp_path / name, epochs=1.0) for name in ("sft", "other"))
    SFT().fit(DATA, run=sft)
    method.fit(DATA, run=other)
    expected = weights(sft)
    for name, tensor in weights(other).items():
        torch.testing.assert_close(tensor, expected[name], atol=5e-4, rtol=1e-2)


def test_msl_trains_other_weights_than_sft_and_its_temperature_ranks(tmp_path: Path) -> None:
    sft, msl = run_of(tmp_path / "sft"), run_of(tmp_path / "msl")
    SFT().fit(DATA, run=sft)
    warm = fit_and_rank(MSL(tau=3.0), msl)
    assert not same_weights(sft, msl)
    policy = policies.restore(DATA, msl)
    assert policy.edges.tau == 3.0
    cold = ranked_with(msl, EdgeScores())
    assert warm.scores is not None
    assert cold.scores is not None
    assert not np.allclose(warm.scores, cold.scores)
    assert np.allclose(warm.scores, ranked_with(msl, EdgeScores(tau=3.0)).scores)  # type: ignore[arg-type]


def ranked_with(run: LLMRun, edges: EdgeScores) -> Ranking:
    from recbench.llm.decoding.rank import rank

    policy = policies.restore(DATA, run)
    policy.edges = edges
    return rank(policy, DATA.valid.requests, data=DATA, k=5, run=run)


@pytest.mark.parametrize(
    ("method", "ranker", "told"),
    [
        (MSL(), ExactRanker(), True),
        (MSL(), BeamRanker(), True),
        (MSL(), ExactRanker(normalise="children"), False),
        (SFT(), ExactRanker(), False),
    ],
    ids=str,
)
def test_a_fit_says_that_its_ranker_reads_tokens_that_it_does_not_train(
    tmp_path: Path, method: LLMMethod, ranker: ExactRanker | BeamRanker, told: bool
) -> None:
    curve = Curve()
    run = run_of(tmp_path / "fit", curve=curve, ranker=ranker, epochs=0.5)
    method.fit(DATA, run=run)
    notes = [str(record["message"]) for record in curve.records if "message" in record]
    assert any("exact:normalise=children" in note for note in notes) == told


def test_over_the_vocabulary_a_temperature_ranks_nothing(tmp_path: Path) -> None:
    run = run_of(tmp_path / "fit", ranker=ExactRanker())
    found = fit_and_rank(MSL(tau=3.0), run)
    assert np.array_equal(found.items, ranked_with(run, EdgeScores()).items)


def test_an_adaptive_temperature_is_a_result_of_the_fit(tmp_path: Path) -> None:
    curve = Curve()
    run = run_of(tmp_path / "fit", curve=curve, epochs=6.0, lr=1e-2)
    MSL(adaptive=True).fit(DATA, run=run)
    taus = [float(line) for line in (run.workdir / RECORD).read_text().split()]
    assert len(taus) == curve.counts["steps"]
    assert all(1.5 <= tau <= 5.0 for tau in taus)
    assert taus[-1] > 1.5
    assert policies.restore(DATA, run).edges.tau == pytest.approx(taus[-1])
    assert curve.series("tau")[0] == pytest.approx(1.5)  # a step is taken with the temperature before it


def test_with_select_best_the_temperature_is_that_of_the_kept_weights(tmp_path: Path) -> None:
    run = run_of(tmp_path / "fit", epochs=6.0, lr=1e-2, select="best")
    MSL(adaptive=True).fit(DATA, run=run)
    import json

    kept = json.loads((run.workdir / "facts.json").read_text())["selection"]["training"]["kept"]
    taus = [float(line) for line in (run.workdir / RECORD).read_text().split()]
    assert policies.restore(DATA, run).edges.tau == pytest.approx(taus[kept - 1])


def test_an_interrupted_fit_with_an_adaptive_temperature_goes_on_where_it_was(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 4.0, "lr": 1e-2, "checkpoints": 2}
    alone = run_of(tmp_path / "alone", **settings)
    MSL(adaptive=True).fit(DATA, run=alone)
    run = run_of(tmp_path / "stopped", **settings)
    steps = len((alone.workdir / RECORD).read_text().split())
    with pytest.raises(KeyboardInterrupt):
        MSL(adaptive=True).fit(DATA, run=replace(run, report=Curve(("training", steps - 1))))
    with (run.workdir / RECORD).open("a") as record:
        record.write("1.")  # the process ended while it wrote the line of a step
    MSL(adaptive=True).fit(DATA, run=run)
    assert (run.workdir / RECORD).read_text() == (alone.workdir / RECORD).read_text()
    assert same_weights(run, alone)


def test_a_fit_resumed_after_patience_ended_its_training_keeps_its_temperature(tmp_path: Path) -> None:
    run = run_of(tmp_path / "fit", epochs=30.0, lr=3e-2, select="best", patience=1, checkpoints=30)
    found = []
    for _ in range(2):
        policy = policies.start(DATA, run)
        policy.validate = validator(policy, DATA, run)
        MSL(adaptive=True).train(policy, DATA, run)
        found.append((policy.selected["training"].kept, policy.edges.tau))
    (kept, tau), again = found
    assert again == (kept, tau)
    taus = [float(line) for line in (run.workdir / RECORD).read_text().split()]
    assert kept < len(taus) < 30  # an epoch has a step at least: patience ended it
    assert tau == taus[kept - 1] > 1.5


def test_igds_factors_are_those_of_the_training_targets_and_rank(tmp_path: Path) -> None:
    run = run_of(tmp_path / "fit", ranker=ExactRanker())
    with_factors = fit_and_rank(IGD(alpha=0.4), run)
    factor = policies.restore(DATA, run).edges.factor
    assert factor is not None
    assert factor.min() == pytest.approx(0.6)
    assert with_factors.scores is not None
    plain = ranked_with(run, EdgeScores())
    assert not np.allclose(with_factors.scores, plain.scores)  # type: ignore[arg-type]


def test_cft_reads_each_response_once_more_after_one_empty_prompt_a_row(tmp_path: Path) -> None:
    run = run_of(tmp_path / "fit", pack="user-blocks")
    policy = policies.start(DATA, run)
    examples = next_item(policy.prompts, DATA, run)
    rows = with_empty_prompts(policy.prompts, examples)
    empty = policy.prompts.prompt([])
    for row, plain in zip(rows, examples.rows, strict=True):
        assert row.num_examples == 2 * plain.num_examples
        assert row.facts["slot"].tolist() == [0] * plain.num_examples + [1] * plain.num_examples
        supervised = [row.label[row.response == which].tolist() for which in range(row.num_examples)]
        assert supervised[: plain.num_examples] == supervised[plain.num_examples :]
        added = len(row.input_ids) - len(plain.input_ids)
        longest = len(empty) + sum(len(labels) for labels in supervised[plain.num_examples :])
        assert 0 < added < longest


def test_what_bear_does_not_go_with_is_refused() -> None:
    with pytest.raises(ValueError, match="bear goes with tau=1"):
        MSL(bear=0.25, tau=2.0)
    with pytest.raises(ValueError, match="bear goes with tau=1"):
        MSL(bear=0.25, adaptive=True)
