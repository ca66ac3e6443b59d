from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from recbench.comparison import letters

NAMES = ["a", "b", "c", "d"]
pairs = st.lists(st.sampled_from(list(combinations(NAMES, 2))), unique=True)


def test_methods_that_do_not_differ_share_one_letter() -> None:
    assert letters.letters(NAMES, []) == dict.fromkeys(NAMES, "a")


def test_a_method_between_two_groups_has_both_letters() -> None:
    # the best and the worst differ, both tie with what lies between
    assert letters.letters(["x", "y", "z"], [("x", "z")]) == {"x": "a", "y": "ab", "z": "b"}


def test_methods_that_all_differ_have_a_letter_each_in_order() -> None:
    every = list(combinations(NAMES, 2))
    assert letters.letters(NAMES, every) == {"a": "a", "b": "b", "c": "c", "d": "d"}


def test_letters_beyond_z_are_numbered() -> None:
    names = [f"m{number:02}" for number in range(28)]
    marks = letters.letters(names, list(combinations(names, 2)))
    assert (marks["m25"], marks["m26"], marks["m27"]) == ("z", "a1", "b1")


@given(pairs)
def test_two_methods_share_a_clique_exactly_where_they_do_not_differ(
    differing: list[tuple[str, str]],
) -> None:
    held = letters.cliques(NAMES, differing)
    for pair in combinations(NAMES, 2):
        assert any(set(pair) <= set(one) for one in held) == (pair not in differing)
    assert not any(set(one) < set(other) for one in held for other in held)


def test_rank_intervals_count_those_better_and_worse_beyond_noise() -> None:
    # a beats c and d, b beats d
    found = letters.rank_intervals(NAMES, [("a", "c"), ("a", "d"), ("b", "d")])
    assert found == {"a": (1, 2), "b": (1, 3), "c": (2, 4), "d": (3, 4)}
