"""Runs that start from the fit of another: planned after it, identified by it, charged for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recbench.base.environment import PeakMemory
from recbench.base.layout import COMPLETE, SPEC, fit_folder
from recbench.errors import DigestError, MissingError, UsageError
from recbench.planning.resolve import rebuild_llm_settings
from recbench.results.fit_record import Facts, FitRecord, RankRecord, Spent
from recbench.running.costs.standalone import efficiency
from tests.conftest import World


def test_a_methods_parent_is_planned_before_it_and_named_in_its_identity(world: World) -> None:
    parent, child = world.plan("dpo")
    assert (parent.label, child.label) == ("sft", "dpo")
    assert child.spec.fit.parent == parent.spec.fit.id
    assert child.parent is parent


def test_all_methods_of_a_command_share_the_parent_that_the_command_names(world: World) -> None:
    planned = world.plan("dpo", "sft", "sdpo:beta=0.5", "soft")
    assert [one.label for one in planned] == ["sft", "dpo", "sdpo[beta=0.5]", "soft"]
    assert {one.spec.fit.parent for one in planned[1:]} == {planned[0].spec.fit.id}


def test_another_seed_or_another_setting_is_another_parent(world: World) -> None:
    fits = {
        world.plan("dpo", **more)[1].spec.fit.parent
        for more in ({}, {"seed": 1}, {"settings": {"train.epochs": "9"}})
    }
    assert len(fits) == 3


def test_a_setting_given_with_a_method_leaves_its_parent_alone(world: World) -> None:
    parent, child = world.plan("dpo:train.lr=1e-6")
    assert parent.spec == world.plan("sft")[0].spec
    assert child.label == "dpo[train.lr=1e-06]"
    assert (child.spec.fit.llm or {})["train"]["lr"] == 1e-6


def test_presets_are_defaults_and_no_part_of_a_label(world: World) -> None:
    _, child = world.plan("dpo")
    train = (child.spec.fit.llm or {})["train"]
    assert (child.label, train["epochs"], train["lr"]) == ("dpo", 1.0, 1e-5)


def test_a_scorer_that_learns_from_the_parent_has_its_settings_and_ranks_by_scores(world: World) -> None:
    parent, child = world.plan("dllm2rec", paradigm="title", regime="equal-tokens")
    assert child.spec.fit.parent == parent.spec.fit.id
    assert child.spec.fit.llm == parent.spec.fit.llm
    assert child.spec.ranker == {"name": "scores"}
    settings = rebuild_llm_settings(child.spec)
    assert settings is not None
    assert (settings.paradigm, settings.train) == ("title", parent.resolved.llm and parent.resolved.llm.train)


def test_a_teacher_of_ones_own_needs_no_parent(world: World) -> None:
    (alone,) = world.plan("dllm2rec:teacher=lists.npz")
    assert (alone.spec.fit.llm, alone.spec.fit.parent, alone.spec.ranker) == (None, None, None)


def test_equal_tokens_is_a_budget_of_the_child_and_not_of_its_parent(world: World) -> None:
    parent, child = world.plan("sft-continued", regime="equal-tokens")
    budgets = [(one.spec.fit.llm or {})["train"]["budget_epochs"] for one in (parent, child)]
    assert budgets == [0.0, 10.0]
    assert child.label == "sft-continued"


def finished_fit(world: World, **changed: Any) -> str:
    """The folder of a fit of sft as a worker leaves it, without its weights."""
    (sft,) = world.plan("sft")
    record = json.loads(json.dumps(sft.spec.to_json()["fit"])) | changed
    folder = fit_folder(world.root.cache, "feedbeef0123")
    folder.mkdir(parents=True)
    (folder / SPEC).write_text(json.dumps(record))
    (folder / COMPLETE).touch()
    return folder.name


def test_a_fit_can_be_named_as_the_parent(world: World) -> None:
    (child,) = world.plan("dpo", parent=finished_fit(world))
    assert child.spec.fit.parent == "feedbeef0123"


def test_a_parent_that_is_not_there_or_learned_from_other_data_is_refused(world: World) -> None:
    with pytest.raises(MissingError, match="no finished fit 'abc'"):
        world.plan("dpo", parent="abc")
    with pytest.raises(DigestError, match="another split"):
        world.plan("dpo", parent=finished_fit(world, split="other"))


def test_a_parent_that_trains_some_tokens_alone_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="is one of msl, which dpo cannot start from") as caught:
        world.plan("dpo", parent=finished_fit(world, method="msl"))
    assert "leave --parent out" in str(caught.value.fix)


def fit_record(seconds: float, stages: dict[str, float], **counts: int) -> FitRecord:
    generated = {
        name: {"generated_tokens": 7, "forward_tokens": 9} for name in stages if name.startswith("beams")
    }
    return FitRecord(
        spent=Spent(
            seconds=seconds,
            attempts=1,
            stages=stages,
            stage_counts=generated,
            stages_built=sorted(stages),
        ),
        counts=counts,
        facts=Facts(),
        peak=PeakMemory(host_bytes=10, gpu_bytes=None),
        device="cpu",
        threads=1,
    )


def test_a_run_costs_what_it_would_cost_alone_parent_and_generation_included() -> None:
    parent = fit_record(12.0, {"identifiers/a": 2.0}, steps=100, trained_tokens=1000)
    child = fit_record(9.0, {"identifiers/a": 2.0, "beams/b": 3.0}, steps=10, trained_tokens=50)
    ranked = RankRecord(seconds=1.0, stats={}, peak=PeakMemory(host_bytes=20, gpu_bytes=None))
    cost = efficiency(child, ranked, [parent])
    # the child built both stages on its way: 9 - 5; the parent 12 - 2; each stage counts once
    assert cost["seconds"] == {"fit": 4.0, "parent": 10.0, "stages": 5.0, "rank": 1.0, "total": 20.0}
    assert (cost["steps"], cost["trained_tokens"], cost["generated_tokens"]) == (110, 1050, 7)
    assert (cost["forward_tokens"], cost["compute_tokens"]) == (9, 3 * 1050 + 9)
