"""Letters, ranks and tiers of rows, from which pairs differ."""

from __future__ import annotations

import numpy as np
import pytest

from recbench.comparison.standings import Kind, kind, standings

METHODS: list[Kind] = ["method"] * 5
MEAN = np.array([0.1, 0.4, 0.5, 0.3, 0.2])
BETTER = [(2, 3), (2, 4), (2, 0), (1, 4), (1, 0), (3, 0)]  # 1 ties with 2; 4 ties with 3 and 0


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [((None,), "method"), ((0, 1, 2), "method"), ((0, 1), "few seeds"), ((4,), "checkpoint")],
)
def test_what_the_seeds_of_a_row_say(seeds: tuple[int | None, ...], expected: Kind) -> None:
    assert kind(seeds) == expected


def test_the_first_tier_is_not_worse_than_the_best_and_the_second_than_the_best_of_the_rest() -> None:
    assert [one.tier for one in standings(MEAN, BETTER, METHODS)] == [None, 1, 1, 2, 2]


def test_methods_have_letters_and_ranks_from_the_pairs_that_differ() -> None:
    found = standings(MEAN, BETTER, METHODS)
    assert [one.ranks for one in found] == [(4, 5), (1, 3), (1, 2), (2, 4), (3, 5)]
    assert [one.letters for one in found] == ["d", "ab", "a", "bc", "cd"]


def test_a_row_that_is_better_than_none_is_not_bold() -> None:
    # 1 is beyond noise from nothing: it may have any rank, and is no winner beside 2
    better = [(2, 3), (2, 4), (2, 0)]
    found = standings(MEAN, better, METHODS)
    assert (found[1].ranks, found[1].tier) == ((1, 5), None)
    assert found[2].tier == 1
    assert [one.tier for one in standings(MEAN, [], METHODS)] == [None] * 5


def test_checkpoints_are_ranked_among_all_and_count_in_no_rank_of_methods() -> None:
    kinds: list[Kind] = ["method", "method", "checkpoint", "method", "few seeds"]
    found = standings(MEAN, BETTER, kinds)
    assert (found[2].ranks, found[2].of_checkpoint, found[2].letters, found[2].tier) == (
        (1, 2),
        True,
        None,
        None,
    )
    assert found[4].ranks is None
    # of the methods 0, 1 and 3: 1 and 3 are better than 0, and tie
    assert [found[row].ranks for row in (0, 1, 3)] == [(3, 3), (1, 2), (1, 2)]
    assert [found[row].letters for row in (0, 1, 3)] == ["b", "a", "a"]
    assert not any(found[row].of_checkpoint for row in (0, 1, 3))


def test_on_a_board_of_checkpoints_a_lone_method_is_ranked_with_them() -> None:
    kinds: list[Kind] = ["method", "checkpoint", "checkpoint", "checkpoint", "checkpoint"]
    found = standings(MEAN, BETTER, kinds)
    assert [one.ranks for one in found] == [(4, 5), (1, 3), (1, 2), (2, 4), (3, 5)]
    assert all(one.of_checkpoint for one in found)
    assert [one.tier for one in found] == [None, 1, 1, 2, 2]
    assert {one.letters for one in found} == {None}


def test_a_row_by_itself_has_no_rank() -> None:
    kinds: tuple[Kind, ...] = ("method", "checkpoint", "few seeds")
    for one in kinds:
        found = standings(np.array([0.3]), [], [one])
        assert (found[0].ranks, found[0].letters, found[0].tier) == (None, None, None)
