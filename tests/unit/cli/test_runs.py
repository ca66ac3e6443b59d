"""What the terminal says of finished runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO

from rich.console import Console
from rich.progress import Progress, TextColumn

from recbench.cli._output import Bars
from recbench.cli._runs import next_command, task_lines
from recbench.cli.run import _by_engine, _engine_lines
from recbench.results.bundle import Bundle
from tests.conftest import World


def test_the_tasks_of_a_row_are_named_once_with_their_shares(make_bundle: Callable[..., Bundle]) -> None:
    shares = {"sequential": {"share": 0.26, "tokens": 26}, "item-to-id": {"share": 0.74, "tokens": 74}}
    label = "sft[train.tasks=lc-rec]"
    runs = [
        make_bundle("sft", [1, 0], label=label, facts={"tasks": shares}),
        make_bundle("sft", [1, 0], seed=1, label=label, facts={"tasks": shares}),
        make_bundle("ilrec", [1, 0]),
    ]
    assert task_lines(runs) == ["tasks of sft[train.tasks=lc-rec], by tokens: item-to-id 74%, sequential 26%"]


def test_what_comes_next_is_a_comparison_a_board_or_for_a_part_of_the_users_the_run(
    make_bundle: Callable[..., Bundle],
) -> None:
    sft, ilrec = make_bundle("sft", [1, 0]), make_bundle("ilrec", [1, 0])
    assert next_command([sft, ilrec]) == "recbench compare ilrec sft"
    assert next_command([sft]) == "recbench leaderboard build"
    fit = replace(sft.manifest.spec.fit, limit_users=60)
    part = replace(sft, manifest=replace(sft.manifest, spec=replace(sft.spec, fit=fit)))
    assert next_command([part]) == f"recbench show {part.id}"


def test_the_lines_before_a_run_name_flags_that_hold(world: World) -> None:
    [run] = world.plan("sft", ranker="beam")
    [line] = [one for one in _engine_lines(run) if "ranker" in one]
    assert "beam" in line
    assert "budget" not in line  # beams have none
    [run] = world.plan("sft", regime="equal-tokens")
    [line] = [one for one in _engine_lines(run) if "training" in one]
    assert line.endswith("(--regime, --set train.KEY=VALUE)")


def test_a_command_says_which_of_its_runs_train_on_several_tasks(world: World) -> None:
    planned = world.plan("dpo", settings={"train.tasks": "lc-rec"})
    sft, dpo = (next(line for line in _engine_lines(run) if "training" in line) for run in planned)
    assert "targets and the other tasks of lc-rec, batch" in sft
    assert "other tasks" not in dpo  # its pairs are of the next item
    [one] = world.plan("sft")
    assert not any("other tasks" in line for line in _engine_lines(one))


def test_methods_with_the_same_settings_of_the_engine_share_its_lines(world: World) -> None:
    planned = [*world.plan("dpo"), *world.plan("dpo:beta=2"), *world.plan("simpo")]
    assert list(_by_engine(planned).values()) == [["sft"], ["dpo", "dpo[beta=2.0]", "simpo"]]


def test_a_stage_that_a_method_names_does_not_reach_the_terminal_as_a_command() -> None:
    out = StringIO()
    with Progress(
        TextColumn("{task.description}", markup=False), console=Console(file=out, width=100)
    ) as bars:
        Bars(bars).progress("epoch \x1b[2J\u202e1", 1, 2)
    assert "epoch \\x1b[2J\\u202e1" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()
