"""What the shell offers, and the page of `--help`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.cli import COMMANDS
from recbench.cli.reference import completion
from recbench.cli.reference.help import PANELS, first_sentence
from recbench.results.bundle import Bundle
from tests.conftest import World
from tests.test_imports import HEAVY, loaded_after


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("recbench run -m noi", ["noise"]),
        ("recbench run -m counts -d to", ["toy", "toys"]),
        ("recbench run -b sm", ["small", "smollm2-135m", "smollm2-135m-q4"]),
        ("recbench run -p t", ["title"]),
        ("recbench run --set train.lr", ["train.lr="]),
        ("recbench run --ranker e", ["exact"]),
        ("recbench show ndc", ["ndcg"]),
        ("recbench plan --metric mrr@1", ["mrr@1", "mrr@10"]),
        ("recbench list pa", ["paradigms"]),
    ],
)
def test_the_shell_is_offered_names(world: World, line: str, offered: list[str]) -> None:
    """As bash asks: the words so far, and the number of the one to complete."""
    words = line.split()
    asked = {
        "_RECBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        world.command(), capture_output=True, text=True, env={**os.environ, **asked}, check=False
    )
    assert done.stdout.split() == offered, done.stderr


def test_completions_of_runs_are_their_ids(world: World) -> None:
    (run,) = world.run("counts")
    assert isinstance(run, Bundle)
    assert completion.runs(run.id[:3]) == [run.id]
    assert run.id in completion.jobs("")
    assert completion.runs("no") == []
    assert run.id in completion.names("")


def test_completing_loads_nothing_heavy_and_no_method() -> None:
    script = (
        "from recbench.cli.reference import completion as c\n"
        "assert c.methods('il') == ['ilrec']\nassert c.names('train.')\n"
        "assert c.settings('') and c.datasets('ml')"
    )
    assert loaded_after(script, (*HEAVY, "rich", "recbench_methods", "recbench.llm")) == []


def test_an_error_offers_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "recbench.toml").write_text("= broken")
    monkeypatch.setenv("RECBENCH_ROOT", str(tmp_path))
    assert completion.runs("") == []


def test_help_groups_commands_and_cuts_no_sentence() -> None:
    script = "from recbench.cli import main; main(['--help'])"
    env = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=True)
    heads = [line[:-1] for line in done.stdout.splitlines() if line.endswith(":") and line[0] != " "]
    assert heads == ["Usage", "Options", *(one for one in PANELS if one in heads)][1:]
    assert {"Run", "Results", "Data", "Upkeep"} <= set(heads)
    assert tuple(COMMANDS) == PANELS
    assert "..." not in done.stdout.replace("[ARGS]...", "").replace("datasets, ..., runs", "")
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


@pytest.mark.parametrize("group", ["data", "leaderboard", "method"])
def test_help_of_a_group_cuts_no_sentence(recbench: Callable[..., Any], group: str) -> None:
    assert "..." not in recbench(group, "-h").out.replace("[ARGS]...", "")


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (("score",), "[OPTIONS] {RUN}..."),
        (("verify",), "[OPTIONS] {RUN|BOARD}..."),
        (("status",), "[OPTIONS] [RUN]..."),
        (("compare",), "[OPTIONS] {METHOD|RUN|FILE}..."),
        (("data", "stats"), "[OPTIONS] {NAME}..."),
        (("leaderboard", "check"), "[OPTIONS] [NAME]"),
    ],
)
def test_usage_marks_an_argument_once(
    recbench: Callable[..., Any], words: tuple[str, ...], usage: str
) -> None:
    first = recbench(*words, "-h").out.splitlines()[0]
    assert first == f"Usage: recbench {' '.join(words)} {usage}"


def test_the_first_sentence_ends_at_a_full_stop_and_a_space() -> None:
    assert first_sentence("Reads study.toml\nfiles. And more.") == "Reads study.toml files."
    assert first_sentence("Is it so? Yes.") == "Is it so?"
    assert first_sentence("") == ""
