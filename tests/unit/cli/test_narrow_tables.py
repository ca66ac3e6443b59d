"""Tables of commands on narrow screens: no name is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recbench.cli._output import print_table
from recbench.results.bundle import Bundle

LONG = "sft-continued[beta=0.5,train.epochs=3]"


@pytest.fixture(params=[80, 100, 140])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def test_lists_of_runs_and_plans_hold_every_name(
    make_bundle: Callable[..., Bundle], recbench: Callable[..., Any], width: int
) -> None:
    for seed in range(2):
        for n, label in enumerate((LONG, "sasrec", "sft[train.epochs=2.0]")):
            make_bundle(f"method{n}", [1, 0, seed, 2] * 10, seed=seed, label=label)
    for words in (("list", "runs"), ("plan", "--power", "0.1")):
        said = recbench(*words).out
        table = said.partition("10, 20 seeds: what")[0]  # a sentence is as long as it is
        assert max(map(len, table.splitlines())) <= width
        assert table.count(LONG) == 2  # of two seeds; of two differences
        assert table.count("sft[train.epochs=2.0]") == 2


def test_cells_are_wrapped_between_words_before_rows_are_stacked(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "a sentence of several words that is longer than what is left of a narrow screen, " * 2
    print_table(("run", "name", "why"), [("abc", LONG, why)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert sum(LONG in line for line in lines) == 1
    assert " ".join(" ".join(line.replace(LONG, "").split()) for line in lines[2:]).split() == [
        "abc",
        *why.split(),
    ]


def test_rows_that_no_wrapping_fits_are_stacked(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("run", "a", "b", "n"), [("abc", "x" * (width // 2), "y" * (width // 2), 3)])
    assert capsys.readouterr().out.splitlines()[0] == "abc"
    print_table(("key", "value"), [("digest", "z" * 200)])  # of one word too long for any screen
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= width
    assert said.count("z") == 200
