"""The mean of each run, the day of the last one, and what papers print for a row."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recbench.board import build
from recbench.board.model import Board, BoardRow
from recbench.results.bundle import Bundle

from .conftest import ranks

MakeBundle = Callable[..., Bundle]


def row(runs: list[Bundle], metric: str = "hr@10") -> BoardRow:
    board = build.build(runs, metric=metric)
    assert Board.from_json(board.to_json()) == board
    return board.tables[0].rows[0]


def test_each_run_has_its_mean(make_bundle: MakeBundle) -> None:
    # of four users those with ranks 1 and 3 are within 10, then the one with rank 1
    runs = [make_bundle("sasrec", found, seed=seed) for seed, found in ((4, [1, 0, 0, 3]), (5, [1, 0, 0, 0]))]
    found = row(runs)
    assert found.run_means == (0.5, 0.25)


def test_a_table_has_the_day_of_its_last_run(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle(
            "sasrec", ranks(seed, 0.5), seed=seed, timings={"finished": f"2026-03-0{seed + 1}T09:00:00"}
        )
        for seed in range(3)
    ]
    assert build.build(runs).tables[0].finished == "2026-03-03"


@pytest.mark.parametrize("params", [{"dim": 128}, {"dim": 128, "lr": 0.01}])  # the paper tuned the rate
def test_a_papers_number_stands_with_the_row_that_it_prints(
    make_bundle: MakeBundle, params: dict[str, float]
) -> None:
    printed = row(
        [make_bundle("sasrec", ranks(1, 0.5), dataset="instrument", params=params, fit_params=params)]
    ).printed
    assert printed is not None
    assert printed.source == "arXiv 2602.17410, table 1"
    assert printed.values["hr@10"] == 0.0698
    assert printed.causes == ("data",)


def test_a_printed_gain_is_that_over_the_sft_of_the_same_table(make_bundle: MakeBundle) -> None:
    llm = {"paradigm": "semantic-id", "backbone": "tiny"}
    printed = row([make_bundle("ilrec", ranks(1, 0.5), dataset="instrument", llm=llm)]).printed
    assert printed is not None
    assert printed.values["hr@10"] == 0.1143
    assert printed.gains["hr@10"] == pytest.approx(0.1143 - 0.1062)
    assert {"data", "backbone"} <= set(printed.causes)


@pytest.mark.parametrize("params", [{"dim": 64}, {"dim": 128, "max_items": 3}])
def test_other_settings_than_the_papers_have_no_printed_number(
    make_bundle: MakeBundle, params: dict[str, float]
) -> None:
    made = make_bundle("sasrec", ranks(1, 0.5), dataset="instrument", params=params, fit_params=params)
    assert row([made]).printed is None
