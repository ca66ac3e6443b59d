"""SFT and ILRec through the engine, on toy data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.data import TrainingData
from recbench.errors import UsageError
from recbench.llm.method import LLMMethod
from recbench.llm.model import policy as policies
from recbench.ranking import Ranking
from recbench.settings import TRAIN_DEFAULTS
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec
from recbench_methods.sft import SFT


def weights_after(method: LLMMethod, folder: Path, **settings: Any) -> dict[str, torch.Tensor]:
    llm = tiny_settings(epochs=1.0, batch=8, **settings)
    run = toy_run(folder, llm=llm)
    method.fit(toy_data(), run=run)
    weights: dict[str, torch.Tensor] = policies.restore(toy_data(), run).model.state_dict()
    return weights


def fit_and_rank(
    method: LLMMethod, data: TrainingData, folder: Path, *, epochs: float, seed: int = 0
) -> Ranking:
    """Fit, then rank with a second instance that has only the folder."""
    run = toy_run(folder, seed=seed, llm=tiny_settings(epochs=epochs, batch=8))
    method.fit(data, run=run)
    fresh = type(method)()
    fresh.load(data, run=run)
    return fresh.rank(data.valid.requests, k=5)


def test_ilrec_without_its_three_terms_is_sft_step_for_step(tmp_path: Path) -> None:
    sft = weights_after(SFT(), tmp_path / "sft")
    ilrec = weights_after(ILRec(beta=0.0, lam=0.0, mu=0.0), tmp_path / "ilrec")
    for name, tensor in sft.items():
        assert torch.equal(tensor, ilrec[name]), name


@pytest.mark.parametrize(
    "changed", [{"beta": 0.0}, {"lam": 0.0}, {"mu": 0.0}, {"ensemble": "final"}, {"k": 1}, {"phi": "shared"}]
)
def test_every_part_of_ilrec_changes_what_is_learned(tmp_path: Path, changed: dict[str, Any]) -> None:
    strong: dict[str, Any] = {"beta": 0.5, "lam": 0.1, "mu": 0.1}
    whole = weights_after(ILRec(**strong), tmp_path / "whole")
    part = weights_after(ILRec(**{**strong, **changed}), tmp_path / "part")
    assert any(not torch.equal(tensor, part[name]) for name, tensor in whole.items())


def test_more_intermediate_layers_than_tiny_has_are_refused_with_the_most_that_it_has(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not offer 3 intermediate layers") as caught:
        weights_after(ILRec(k=3, mu=0.0), tmp_path / "ilrec")
    assert "-m ilrec:k=2;" in caught.value.fix


@pytest.mark.parametrize("method", [SFT(), ILRec()])
def test_a_fit_learns_that_the_next_item_follows_and_ranks_it_first(
    tmp_path: Path, method: LLMMethod
) -> None:
    data = toy_data(num_users=80, num_items=8)
    ranking = fit_and_rank(method, data, tmp_path / "fit", epochs=20.0)
    last = np.array([history[-1] for history in data.valid.requests.history])
    assert np.mean(ranking.items[:, 0] == (last + 1) % 8) > 0.9
    assert ranking.certified is not None
    assert ranking.certified.all()
    ranking.check(data.valid.requests, num_items=8, depth=5)


@pytest.mark.slow
def test_small_learns_the_same_with_its_own_learning_rate(tmp_path: Path) -> None:
    data = toy_data(num_users=80, num_items=8)
    settings: dict[str, Any] = {"epochs": 8.0, "batch": 8, "lr": TRAIN_DEFAULTS["small"]["lr"]}
    run = toy_run(tmp_path / "fit", llm=tiny_settings(backbone="small", **settings))
    SFT().fit(data, run=run)
    method = SFT()
    method.load(data, run=run)
    last = np.array([history[-1] for history in data.valid.requests.history])
    assert np.mean(method.rank(data.valid.requests, k=5).items[:, 0] == (last + 1) % 8) > 0.9


def test_one_seed_gives_one_ranking_and_another_seed_another(tmp_path: Path) -> None:
    data = toy_data(num_users=20)
    first, again, other = (
        fit_and_rank(SFT(), data, tmp_path / name, epochs=2.0, seed=seed)
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert np.array_equal(first.items, again.items)
    assert first.scores is not None
    assert again.scores is not None
    assert other.scores is not None
    assert np.array_equal(first.scores, again.scores)
    assert not np.array_equal(first.scores, other.scores)


def test_validation_targets_do_not_reach_the_weights(tmp_path: Path) -> None:
    from dataclasses import replace

    data, llm = toy_data(), tiny_settings(epochs=1.0)
    shuffled = replace(data, valid=replace(data.valid, target=data.valid.target[::-1].copy()))
    weights = []
    for name, given in (("plain", data), ("shuffled", shuffled)):
        run = toy_run(tmp_path / name, llm=llm)
        ILRec(mu=0.0).fit(given, run=run)
        weights.append(policies.restore(given, run).model.state_dict())
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_a_fit_leaves_its_facts_for_the_bundle(tmp_path: Path) -> None:
    weights_after(SFT(), tmp_path / "fit")
    facts = json.loads((tmp_path / "fit" / "facts.json").read_text())
    assert facts["num_parameters"]["all"] == facts["num_parameters"]["trainable"] > 100_000
    assert len(facts["identifiers"]) == 64
