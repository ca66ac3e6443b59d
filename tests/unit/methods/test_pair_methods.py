"""Pair methods with losses and negatives of every kind, from fit to ranking, on toy data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.errors import UsageError
from recbench.llm.losses.pairs import PairBatch
from recbench.llm.model import policy as policies
from recbench.llm.pair_method import PairMethod
from recbench.llm.signals import preference
from recbench.method import LLMRun, ParentFit
from recbench_methods.cpo import CPO
from recbench_methods.dpo import DPO
from recbench_methods.dynamicpo import DynamicPO
from recbench_methods.orpo import ORPO
from recbench_methods.pair_loss import PairLossMethod
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT
from recbench_methods.simpo import SimPO
from tests.unit.methods.conftest import DATA, Curve, Parents, beside, context, fit_and_rank, weights

SAMPLERS = (
    "popularity",
    "in-batch:block=4",
    "similar",
    "sasrec-hard",
    "self-topk:pool=4",
    "self-play:rounds=2",
)
METHODS: list[PairMethod] = [
    *(SDPO(negatives=negatives, num_negatives=2) for negatives in SAMPLERS),
    DPO(num_negatives=3),
    DynamicPO(num_negatives=4),
    SimPO(num_negatives=2),
    CPO(num_negatives=2),
    ORPO(num_negatives=2),
    *(
        PairLossMethod(type_=kind, num_negatives=2)
        for kind in ("ipo", "cdpo", "robust", "dpo-norm", "apo-zero", "sppo-hard", "kto")
    ),
]


def name_of(method: PairMethod) -> str:
    return f"{type(method).__name__}-{getattr(method, 'type_', method.negatives)}"


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_every_pair_method_fits_moves_its_policy_and_ranks(
    tmp_path: Path, parents: Parents, method: PairMethod
) -> None:
    parent = parents("semantic-id")
    curve = Curve()
    run = beside(parent, context(tmp_path / "fit", parent, curve=curve, max_rows=8))
    ranking = fit_and_rank(method, run)
    ranking.check(DATA.valid.requests, num_items=12, depth=5)
    assert json.loads((run.workdir / "facts.json").read_text())["moved_nats"] > 1e-4
    assert curve.series("negatives_missing_share")[0] <= 1.0
    with_reference = method.needs_reference
    assert bool(curve.series("kl")) == bool(curve.series("parent_accuracy")) == with_reference


def forbid_references(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_args: Any, **_options: Any) -> Any:
        raise AssertionError("a reference was computed")

    monkeypatch.setattr(preference, "reference_logps", none)


@pytest.mark.parametrize("method", [SimPO(), CPO(), ORPO()], ids=name_of)
def test_no_reference_is_computed_for_a_loss_that_reads_none(
    tmp_path: Path, parents: Parents, monkeypatch: pytest.MonkeyPatch, method: PairMethod
) -> None:
    forbid_references(monkeypatch)
    parent = parents("semantic-id")
    method.fit(DATA, run=beside(parent, context(tmp_path / "fit", parent, max_rows=4)))
    with pytest.raises(AssertionError, match="a reference was computed"):
        DPO().fit(DATA, run=beside(parent, context(tmp_path / "dpo", parent, max_rows=4)))


def test_orpo_starts_from_the_base_and_without_its_preference_is_sft(
    tmp_path: Path, parents: Parents
) -> None:
    parent = parents("semantic-id")
    settings: dict[str, Any] = {"epochs": 2.0, "pack": "none"}
    sft = context(tmp_path / "sft", parent, **settings)
    SFT().fit(DATA, run=sft)
    orpo = replace(context(tmp_path / "orpo", parent, **settings), parent=None)
    ORPO(beta=0.0).fit(DATA, run=orpo)
    expected = weights(sft)
    for name, tensor in weights(orpo).items():
        torch.testing.assert_close(tensor, expected[name], atol=2e-4, rtol=1e-3)


class Seen(DPO):
    """DPO that keeps which items it saw rejected for each example, by epoch."""

    def loss(self, pairs: PairBatch) -> torch.Tensor:
        seen: list[tuple[int, list[int]]] = self.__dict__.setdefault("seen", [])
        for example, row in zip(pairs.example.tolist(), pairs.rejected.tolist(), strict=True):
            seen.append((example, row))
        return super().loss(pairs)


def fitted(method: PairMethod, run: LLMRun) -> PairMethod:
    method.fit(DATA, run=run)
    return method


def test_resampled_negatives_change_with_the_epoch_and_keep_a_matching_reference(
    tmp_path: Path, parents: Parents
) -> None:
    """A policy that does not move has a log-ratio of 0 with every pair of every epoch."""
    parent = parents("semantic-id")
    curve = Curve()
    settings: dict[str, Any] = {"epochs": 3.0, "lr": 1e-12, "max_rows": 8, "batch": 4}
    run = beside(parent, context(tmp_path / "fit", parent, curve=curve, **settings))
    method = fitted(Seen(negatives="in-batch:block=100"), run)
    by_example: dict[int, list[tuple[int, ...]]] = {}
    for example, row in method.__dict__["seen"]:
        by_example.setdefault(example, []).append(tuple(row))
    assert {len(rows) for rows in by_example.values()} == {3}
    assert sum(len(set(rows)) > 1 for rows in by_example.values()) > len(by_example) / 3
    assert np.abs(curve.series("margin")).max() < 1e-4
    fixed = fitted(Seen(negatives="uniform"), beside(parent, context(tmp_path / "fixed", parent, **settings)))
    rows_of: dict[int, set[tuple[int, ...]]] = {}
    for example, row in fixed.__dict__["seen"]:
        rows_of.setdefault(example, set()).add(tuple(row))
    assert {len(rows) for rows in rows_of.values()} == {1}


def test_self_play_divides_the_epochs_and_refers_to_the_start_of_each_round(
    tmp_path: Path, parents: Parents
) -> None:
    parent, curve = parents("semantic-id"), Curve()
    run = context(tmp_path / "fit", parent, curve=curve, epochs=2.0, max_rows=8, batch=4, lr=3e-3)
    SDPO(negatives="self-play:rounds=2").fit(DATA, run=beside(parent, run))
    plain = Curve()
    same = context(tmp_path / "plain", parent, curve=plain, epochs=2.0, max_rows=8, batch=4, lr=3e-3)
    SDPO().fit(DATA, run=beside(parent, same))
    assert curve.counts["steps"] == plain.counts["steps"] == 4
    assert curve.counts["generated_tokens"] > 0
    starts = [record for record in curve.records if "margin" in record and record["step"] == 1]
    assert len(starts) == 2
    assert [record["margin"] for record in starts] == pytest.approx([0.0, 0.0], abs=1e-4)


def test_an_interrupted_fit_with_resampled_negatives_ranks_as_one_left_alone(
    tmp_path: Path, parents: Parents
) -> None:
    parent = parents("semantic-id")
    method = SDPO(negatives="in-batch:block=8", num_negatives=2)
    settings: dict[str, Any] = {"epochs": 3.0, "batch": 4, "checkpoints": 2, "max_rows": 8}
    alone = fit_and_rank(method, context(tmp_path / "alone" / "fit", parent, **settings))
    run = context(tmp_path / "stopped" / "fit", parent, **settings)
    with pytest.raises(KeyboardInterrupt):
        method.fit(DATA, run=replace(run, report=Curve(("training", 5))))
    continued = fit_and_rank(method, run)
    assert np.array_equal(alone.items, continued.items)
    assert alone.scores is not None
    assert continued.scores is not None
    assert np.array_equal(alone.scores, continued.scores)


def test_a_pair_method_keeps_examples_without_negatives_for_its_cross_entropy(
    tmp_path: Path, parents: Parents
) -> None:
    parent = parents("semantic-id")
    run = beside(parent, context(tmp_path / "fit", parent, max_rows=4))
    policy = policies.restore(DATA, run, workdir=parent.workdir, train=True)

    class Nearly(CPO):
        def reject(self, ask: Any) -> Any:
            rejected = super().reject(ask)
            rejected[1:] = -1
            return rejected

    counts = {}
    for weight in (0.0, 1.0):
        curve = Curve()
        Nearly(sft_weight=weight).train(
            policy, DATA, replace(run, report=curve, workdir=tmp_path / str(weight))
        )
        counts[weight] = curve.counts["supervised_tokens"]
    assert counts[1.0] > counts[0.0]


def test_what_a_loss_cannot_be_is_refused_by_name(tmp_path: Path, parents: Parents) -> None:
    with pytest.raises(ValueError, match="ipo has no softmax over negatives"):
        PairLossMethod(type_="ipo", reduce="softmax")
    with pytest.raises(ValueError, match="beta must be above 0"):
        PairLossMethod(type_="ipo", beta=0.0)
    assert PairLossMethod(type_="dpo-norm").reduce == "softmax"
    assert PairLossMethod(type_="kto").reduce == "pairs"
    with pytest.raises(UsageError, match="self-hard asks a trained model"):
        ORPO(negatives="self-hard")
    parent: ParentFit = parents("semantic-id")
    run = beside(parent, context(tmp_path / "fit", parent))
    policy = policies.restore(DATA, run, workdir=parent.workdir, train=True)
    one_target = replace(DATA, sample=np.array([1]))
    with pytest.raises(UsageError, match="every training target has the same identifier"):
        PairLossMethod(type_="kto").train(policy, one_target, run)
