"""What a short fit says of a long one, by hand."""

from __future__ import annotations

import pytest

from recbench.running.costs.extrapolation import Moment, Pace, extrapolated, paces, remaining


def moments(*rows: tuple[float, str, int, int]) -> list[Moment]:
    return [Moment(*row) for row in rows]


def test_a_pace_is_the_time_between_the_first_and_the_last_report() -> None:
    """The first step took 5 s, with what is done once; each of the three after it took 2 s."""
    told = moments((5, "training", 1, 4), (7, "training", 2, 4), (11, "training", 4, 4))
    assert paces(told) == [Pace("training", 4, 2.0)]
    assert paces(told)[0].whole == 8


def test_each_stage_has_its_own_pace_and_the_same_name_may_come_again() -> None:
    told = moments(
        (1, "sft-0", 1, 3),
        (3, "sft-0", 3, 3),
        (4, "generating", 16, 48),
        (8, "generating", 48, 48),
        (9, "sft-0", 1, 2),
        (9.5, "sft-0", 2, 2),
    )
    assert paces(told) == [Pace("sft-0", 3, 1.0), Pace("generating", 48, 0.125), Pace("sft-0", 2, 0.5)]


def test_one_report_has_no_pace() -> None:
    assert paces(moments((1, "training", 4, 4))) == []
    assert paces([]) == []


def test_what_is_inside_shared_stages_counts_where_it_is_asked_for() -> None:
    told = moments(
        (0, "making sasrec", 0, 1),
        (1, "training", 1, 12),
        (3, "training", 2, 12),
        (9, "making sasrec", 1, 1),
        (10, "making reference", 0, 1),
        (11, "reference", 10, 30),
        (13, "reference", 30, 30),
        (13, "making reference", 1, 1),
        (14, "training", 1, 4),
        (17, "training", 4, 4),
    )
    reference, training = Pace("reference", 30, 0.1), Pace("training", 4, 1.0)
    assert paces(told, shared={"reference"}) == [reference, training]
    assert paces(told, shared=set()) == [training]
    assert paces(told) == [Pace("training", 12, 2.0), reference, training]


def test_what_has_a_pace_grows_and_the_rest_counts_once() -> None:
    """20 s, of them 4 steps of 2 s and 30 rows of 0.1 s: 9 s that are done once."""
    found = [Pace("training", 4, 2.0), Pace("reference", 30, 0.1)]
    assert extrapolated(20, found, 1) == 20
    assert extrapolated(20, found, 10) == pytest.approx(9 + 10 * 11)


def test_a_fit_cannot_have_spent_more_on_its_stages_than_it_took() -> None:
    assert extrapolated(5, [Pace("training", 4, 2.0)], 3) == 15


def test_what_remains_is_what_the_last_stage_has_left_at_its_own_pace() -> None:
    told = moments(
        (1, "answers", 0, 10), (6, "answers", 10, 10), (8, "training", 1, 6), (12, "training", 3, 6)
    )
    assert remaining(told) == 6  # three steps of 2 s
    assert remaining(told[:3]) == 0  # no pace is known yet
    assert remaining(told[:2]) == 0  # it was done
