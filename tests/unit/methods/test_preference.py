"""The methods that start from SFT or learn from it, from fit to ranking, on toy data."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbench.llm.decoding.answers import answer
from recbench.llm.decoding.text_space import text_space
from recbench.llm.items.embeddings import interaction_svd
from recbench.llm.method import LLMMethod
from recbench.llm.model import policy as policies
from recbench.llm.signals import distillation
from recbench.llm.signals.preference import percentiles
from recbench.llm.signals.smoothing import personal_smoothing
from recbench.llm.training.examples import next_item
from recbench.llm.training.likelihood import TokenCrossEntropy
from recbench.llm.training.pack import prefix_tree
from recbench.llm.training.trainer import train
from recbench.method import ParentFit
from recbench.settings import Paradigm
from recbench.testing import tiny_settings, toy_run
from recbench_methods.dmpo import DMPO
from recbench_methods.dpo import DPO
from recbench_methods.ilrec import ILRec
from recbench_methods.rosepo import RosePO
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT
from recbench_methods.sft_continued import SFTContinued
from recbench_methods.soft import SOFT
from recbench_methods.sprec import SPRec
from tests.unit.methods.conftest import DATA, Curve, Parents, beside, context, fit_and_rank, weights

METHODS: list[LLMMethod] = [
    SFTContinued(),
    DPO(),
    SDPO(num_negatives=2),
    DMPO(num_negatives=2),
    RosePO(),
    RosePO(negatives="similar", smoothing="constant", epsilon=0.2),
    RosePO(negatives="similar", smoothing="personal", form="robust"),
    RosePO(negatives="popularity", smoothing="none"),
    RosePO(negatives="popularity", form="robust", smoothing="constant"),
    SPRec(iterations=2),
    SOFT(sample=4),
    SOFT(adaptive=False),
    SOFT(sample=4, init="sft"),
]
HYBRID: list[LLMMethod] = [SFT(), SDPO(num_negatives=2), SOFT(sample=4), ILRec()]
CASES: list[tuple[LLMMethod, Paradigm]] = [
    *((method, "semantic-id") for method in METHODS),
    *((method, "title") for method in METHODS),
    *((method, "hybrid") for method in HYBRID),
]


@pytest.mark.parametrize(("method", "paradigm"), CASES, ids=str)
def test_every_method_fits_moves_its_policy_and_ranks(
    tmp_path: Path, parents: Parents, method: LLMMethod, paradigm: Paradigm
) -> None:
    parent = parents(paradigm)
    run = beside(parent, context(tmp_path / "fit", parent, max_rows=8))
    ranking = fit_and_rank(method, run)
    ranking.check(DATA.valid.requests, num_items=12, depth=5)
    assert json.loads((run.workdir / "facts.json").read_text())["moved_nats"] > 1e-4
    assert not list(run.workdir.glob("checkpoints-*"))


@pytest.mark.parametrize(
    ("method", "paradigm"),
    [
        (SDPO(num_negatives=2), "hybrid"),
        (RosePO(), "semantic-id"),
        pytest.param(SPRec(iterations=2), "title", marks=pytest.mark.slow),
        (SOFT(sample=4), "semantic-id"),
    ],
    ids=str,
)
def test_two_fits_of_one_seed_rank_alike_to_the_last_bit(
    tmp_path: Path, parents: Parents, method: LLMMethod, paradigm: Paradigm
) -> None:
    first, again = (
        fit_and_rank(method, context(tmp_path / name / "fit", parents(paradigm), max_rows=8))
        for name in ("first", "again")
    )
    assert np.array_equal(first.items, again.items)
    assert first.scores is not None
    assert again.scores is not None
    assert np.array_equal(first.scores, again.scores)


@pytest.mark.parametrize(
    ("method", "paradigm", "epochs", "stop"),
    [
        (SDPO(num_negatives=2), "hybrid", 3.0, ("training", 5)),
        pytest.param(SPRec(iterations=2), "semantic-id", 1.0, ("sft-1", 1), marks=pytest.mark.slow),
        (SPRec(iterations=2), "semantic-id", 1.0, ("dpo-1", 1)),
        pytest.param(
            SOFT(sample=4), "title", 3.0, ("training", 5), marks=pytest.mark.slow
        ),  # continues from step 3, inside epoch 1
        (SOFT(sample=4), "semantic-id", 3.0, ("training", 5)),
    ],
    ids=str,
)
def test_an_interrupted_fit_ranks_as_one_that_was_left_alone(
    tmp_path: Path,
    parents: Parents,
    method: LLMMethod,
    paradigm: Paradigm,
    epochs: float,
    stop: tuple[str, int],
) -> None:
    parent = parents(paradigm)
    settings: dict[str, Any] = {"epochs": epochs, "batch": 4, "checkpoints": 2, "max_rows": 8}
    alone = fit_and_rank(method, context(tmp_path / "alone" / "fit", parent, **settings))
    run = context(tmp_path / "stopped" / "fit", parent, **settings)
    with pytest.raises(KeyboardInterrupt):
        method.fit(DATA, run=replace(run, report=Curve(stop)))
    assert list(run.workdir.glob("checkpoints-*/checkpoint-*"))
    continued = fit_and_rank(method, run)
    assert np.array_equal(alone.items, continued.items)
    assert alone.scores is not None
    assert continued.scores is not None
    assert np.array_equal(alone.scores, continued.scores)


def always(item: int, folder: Path) -> ParentFit:
    """A fit whose policy answers every prompt with `item`."""
    run = toy_run(folder, llm=tiny_settings(epochs=6.0, batch=8))
    policy = policies.start(DATA, run)
    examples = next_item(policy.prompts, DATA, run)
    rows = [prefix_tree([policy.prompts.example(history.tolist(), item)]) for history in examples.history]
    train(policy, rows, TokenCrossEntropy(), settings=run.llm.train, run=run)
    policy.save(folder / "model")
    return ParentFit(id=f"always {item}", workdir=folder, trained_tokens=0, llm=run.llm)


def test_sprec_rejects_the_one_answer_of_a_stub_and_drops_it_where_it_is_right(
    tmp_path: Path,
) -> None:
    answered = int(DATA.sequences[0][1])
    parent, curve = always(answered, tmp_path / "parent"), Curve()
    run = replace(context(tmp_path / "fit", replace(parent, id="semantic-id")), report=curve)
    policy = policies.restore(DATA, run, workdir=parent.workdir, train=True)
    examples = next_item(policy.prompts, DATA, run)
    given = answer(policy, examples.requests(np.arange(len(examples))), DATA, run, None)
    assert set(given.items.tolist()) == {answered}

    SPRec(iterations=1).train(policy, DATA, run)
    right = float((examples.target == answered).mean())
    first = next(record for record in curve.records if "margin" in record)
    assert right > 0
    assert first["dropped_share"] == pytest.approx(right)
    assert first["negatives_popularity"] == pytest.approx(percentiles(DATA)[answered])
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)


def soft_curve(folder: Path, parent: ParentFit, method: SOFT, **settings: Any) -> Curve:
    curve = Curve()
    run = context(folder, parent, curve=curve, **{"epochs": 3.0, **settings})
    method.fit(DATA, run=run)
    return curve


def test_soft_begins_with_distilled_data_alone_and_a_fast_schedule_ends_with_targets_alone(
    tmp_path: Path, parents: Parents
) -> None:
    curve = soft_curve(tmp_path / "fit", parents("semantic-id"), SOFT(alpha=1000.0), lr=3e-3, epochs=8.0)
    tau, distance = curve.series("tau"), curve.series("distance")
    assert len(tau) == 8
    assert tau[0] == 1.0
    assert distance[-1] < 0.9 * distance[0]
    assert tau[-1] < 1e-6
    steps = [record for record in curve.records if "loss_targets" in record]
    assert steps[0]["loss"] == pytest.approx(steps[0]["loss_answers"])
    assert steps[-1]["loss"] == pytest.approx(steps[-1]["loss_targets"])


@pytest.mark.parametrize("paradigm", ["semantic-id", "title"])
def test_softs_distance_is_measured_on_one_sample_and_by_hand(
    tmp_path: Path, parents: Parents, paradigm: Paradigm
) -> None:
    """A policy that does not learn stays as far away; with every example in the sample, so far as here."""
    parent = parents(paradigm)
    method = SOFT(sample=10_000, init="sft")
    settings: dict[str, Any] = {"lr": 1e-12, "max_rows": 8}
    distances = soft_curve(tmp_path / "fit", parent, method, **settings).series("distance")
    assert len(distances) == 3
    assert distances == pytest.approx([distances[0]] * 3)

    run = context(tmp_path / "by-hand", parent, **settings)
    policy = policies.restore(DATA, run, workdir=parent.workdir)
    examples = next_item(policy.prompts, DATA, run)
    space = text_space(policy, DATA, run) if paradigm == "title" else None
    given = answer(policy, examples.requests(np.arange(len(examples))), DATA, run, space)
    vectors = interaction_svd(DATA.sequences, num_items=12, dim=64, seed=0)
    expected = np.linalg.norm(vectors[given.items] - vectors[examples.target], axis=1).mean()
    assert distances[0] == pytest.approx(expected, rel=1e-5)

    part = soft_curve(tmp_path / "part", parent, replace(method, sample=3), **settings).series("distance")
    assert part == pytest.approx([part[0]] * 3)


@pytest.mark.parametrize("paradigm", ["semantic-id", "title"])
def test_on_a_pretrained_backbone_softs_distance_is_that_of_texts(
    tmp_path: Path, parents: Parents, monkeypatch: pytest.MonkeyPatch, paradigm: Paradigm
) -> None:
    """The same weights, called pretrained: titles as they were written, or those of the items' codes."""
    parent = parents(paradigm)
    run = context(tmp_path, parent, max_rows=8)
    policy = policies.restore(DATA, run, workdir=parent.workdir)
    examples = next_item(policy.prompts, DATA, run)
    space = text_space(policy, DATA, run)
    monkeypatch.setattr(distillation, "backbone_class", lambda _name: "pretrained")
    method = SOFT(sample=10_000)
    schedule = distillation.Schedule(method, distillation.Distillation(), policy, examples, DATA, run, space)
    schedule.on_epoch_begin(None, SimpleNamespace(epoch=0.0, global_step=0), None)
    titles = paradigm == "title"
    given = answer(policy, examples.requests(np.arange(len(examples))), DATA, run, space if titles else None)
    vectors = space.vectors[given.items]
    if titles:
        vectors = space.encoder.encode([policy.tokenizer.decode(ids[:-1]) for ids in given.responses])
    expected = np.linalg.norm(vectors - space.vectors[examples.target], axis=1).mean()
    assert schedule.distances == [pytest.approx(expected, rel=1e-5)]


@pytest.mark.parametrize(("distances", "warns"), [([1.0, 1.25], True), ([1.0, 0.75], False)])
def test_soft_warns_where_tau_does_not_fall_in_the_first_epoch(
    tmp_path: Path, parents: Parents, distances: list[float], warns: bool
) -> None:
    """tau = exp(2 (d_1 / d_0 - 1)) before clipping: exp(0.5) = 1.65, or exp(-0.5) = 0.61."""
    parent, curve = parents("semantic-id"), Curve()
    run = context(tmp_path, parent, curve=curve)
    (tmp_path / distillation.RECORD).write_text(json.dumps(distances))
    policy = policies.restore(DATA, run, workdir=parent.workdir)
    examples, space = next_item(policy.prompts, DATA, run), text_space(policy, DATA, run)
    objective = distillation.Distillation()
    schedule = distillation.Schedule(SOFT(alpha=2.0), objective, policy, examples, DATA, run, space)
    for epoch in (0, 1):
        schedule.on_epoch_begin(None, SimpleNamespace(epoch=float(epoch), global_step=epoch), None)
    raw = np.exp(0.5 if warns else -0.5)
    assert curve.series("tau_raw") == pytest.approx([1.0, raw])
    assert objective.tau == pytest.approx(min(raw, 1.0))
    warned = curve.series("warning")
    assert len(warned) == warns
    assert all("tau is 1.65 before clipping" in str(text) for text in warned)


def test_soft_without_its_schedule_never_learns_from_a_target(tmp_path: Path, parents: Parents) -> None:
    curve = soft_curve(tmp_path / "fit", parents("semantic-id"), SOFT(adaptive=False))
    assert curve.series("tau") == []
    steps = [record for record in curve.records if "loss_answers" in record]
    assert [step["loss"] for step in steps] == pytest.approx([step["loss_answers"] for step in steps])


def test_rosepo_without_smoothing_is_dpo_to_the_last_bit(tmp_path: Path, parents: Parents) -> None:
    parent = parents("semantic-id")
    found = []
    for place, method in enumerate(
        (RosePO(smoothing="none"), DPO(negatives="similar"), RosePO(smoothing="constant", epsilon=0.2))
    ):
        run = beside(parent, context(tmp_path / str(place), parent))
        method.fit(DATA, run=run)
        found.append(weights(run))
    rosepo, dpo, smoothed = found
    assert all(torch.equal(tensor, dpo[name]) for name, tensor in rosepo.items())
    assert not all(torch.equal(tensor, smoothed[name]) for name, tensor in rosepo.items())


def test_smoothing_is_personal_below_one_half_and_nothing_where_nothing_is_rejected(
    tmp_path: Path, parents: Parents
) -> None:
    parent = parents("semantic-id")
    curve = Curve()
    run = beside(parent, context(tmp_path / "fit", parent, curve=curve))
    policy = policies.restore(DATA, run, workdir=parent.workdir)
    examples = next_item(policy.prompts, DATA, run)
    rejected = (examples.target[:, None] + 5) % 12
    rejected[0] = -1
    smoothing = personal_smoothing(examples, rejected, DATA, run, cap=0.45)
    pairs = torch.arange(len(rejected)), torch.from_numpy(rejected)
    epsilon = smoothing(*pairs)[:, 0]
    several = smoothing(pairs[0], pairs[1].expand(-1, 3))  # of each rejected item its own
    assert torch.equal(several, epsilon[:, None].expand(-1, 3))
    assert epsilon[0] == 0
    assert bool(((epsilon[1:] > 0) & (epsilon <= 0.45)[1:]).all())
    assert len(set(epsilon.tolist())) > len(epsilon) / 2
    [accuracy], [clipped] = curve.series("oracle_accuracy"), curve.series("smoothing_clipped_share")
    assert accuracy > 0.5  # the walk through the catalogue is learned, five items on is not
    assert clipped == pytest.approx(float((epsilon[1:] >= 0.45 - 1e-6).float().mean()))
    assert curve.series("warning") == []

    personal_smoothing(examples, rejected, DATA, run, cap=1e-6)  # every pair is at such a cap
    assert "100% of the pairs is at its cap" in str(curve.series("warning")[0])
