"""What a command says of a control that trains as a method which is not among its own."""

from __future__ import annotations

import pytest

from recbench.api.matrix import control_notes
from recbench.planning.resolve import Selection, resolve
from tests.conftest import World


def notes(*methods: str, regime: str = "recipe") -> list[str]:
    return control_notes([resolve(Selection(method=name, dataset="game", regime=regime)) for name in methods])


def test_a_control_of_the_longest_of_all_methods_is_told_apart_from_that_of_these() -> None:
    # by default it follows sprec with 96 steps; sdpo and rere have 64 each, so the first by name is named
    assert notes("sft", "sft-continued", "sdpo", "rere") == [
        "sft-continued has the rows and steps of 'sprec', which is not among these methods; "
        "sft-continued:as=rere has those of 'rere'"
    ]
    assert "as=sdpo has those of 'sdpo'" in notes("sft-continued", "sdpo:train.epochs=2", "rere")[0]


@pytest.mark.parametrize(
    "methods",
    [
        ("sft-continued", "sdpo", "sprec"),
        ("sft-continued:as=sdpo", "sdpo", "dmpo"),
        ("sft", "sft-continued", "ilrec"),  # no preference method, so none that it could follow instead
    ],
)
def test_nothing_is_said_where_the_control_follows_one_of_them_or_there_is_none(methods: list[str]) -> None:
    assert notes(*methods) == []


def test_nothing_is_said_under_a_budget_of_tokens() -> None:
    assert notes("sft-continued", "sdpo", regime="equal-tokens") == []


def test_plan_and_run_say_it_before_anything_is_fitted(world: World) -> None:
    for command in (("plan",), ("run", "--dry-run")):
        done = world.recbench(*command, "-m", "sft-continued", "-m", "sdpo", "-d", "toy")
        said = (done.stdout + done.stderr).splitlines()
        assert [line for line in said if line.startswith("note: sft-continued has the rows and steps of")]
        assert done.returncode == 0
