"""How a run is shortened to be timed: fewer rows, by hand, and a budget of tokens that shrinks with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from recbench.planning.plan import Planned
from recbench.running.costs.trial import short

if TYPE_CHECKING:
    from tests.conftest import World

TARGETS = 720


def train_of(run: Planned | None) -> dict[str, Any]:
    assert run is not None
    assert run.spec.fit.llm is not None
    train: dict[str, Any] = run.spec.fit.llm["train"]
    return train


def settings(**train: str) -> dict[str, str]:
    return {f"train.{name}": value for name, value in train.items()}


def test_rows_make_the_steps_over_all_epochs_and_nothing_else_of_the_training_changes(world: World) -> None:
    (run,) = world.plan("sft", settings=settings(epochs="2.5", batch="32", select="best", patience="2"))
    trial = short(run, 4)
    # 4 steps in 2.5 epochs are 1.6 steps an epoch: 2 of 32 rows
    changed = {"max_rows": 64, "checkpoints": 1, "select": "last", "patience": 0}
    assert train_of(trial) == {**train_of(run), **changed}
    assert run.spec.fit.llm is not None
    assert "selected_by" in run.spec.fit.llm
    assert "selected_by" not in (trial.spec.fit.llm or {})
    assert trial.spec.fit.id != run.spec.fit.id


def test_a_cap_on_rows_that_is_lower_stays(world: World) -> None:
    (run,) = world.plan("sft", settings=settings(epochs="1", batch="32", max_rows="48"))
    assert train_of(short(run, 4))["max_rows"] == 48


def test_a_child_starts_from_the_short_fit_of_its_parent(world: World) -> None:
    parent, run = world.plan("dpo")
    trial = short(run, 4)
    assert trial.parent is not None
    assert trial.parent.spec.fit.id == trial.spec.fit.parent == short(parent, 4).spec.fit.id
    assert trial.spec.fit.parent != run.spec.fit.parent


def test_a_budget_shrinks_so_that_the_child_has_the_same_share_of_what_is_left(
    world: World,
) -> None:
    given = settings(epochs="3", batch="32")
    parent, run = world.plan("dpo", regime="equal-tokens", settings=given)
    assert (train_of(parent)["epochs"], train_of(run)["budget_epochs"]) == (3, 10)
    trial = short(run, 4)
    # the parent: 2 x 32 rows for 4 steps in 3 epochs; the child: 32 rows for 4 steps in 10
    assert (train_of(trial.parent)["max_rows"], train_of(trial)["max_rows"]) == (64, 32)
    # the parent reads 3 epochs of 64 of 720 rows; the child has 7 epochs left, of which 32 / 720 are its own
    read, left = 3 * 64 / TARGETS, 7 * 32 / TARGETS
    assert train_of(trial)["budget_epochs"] == pytest.approx(read + left)


def test_a_scorer_is_as_it_was(world: World) -> None:
    (run,) = world.plan("noise")
    assert short(run, 4) is run
    assert short(replace(run, parent=None), 4).spec == run.spec
