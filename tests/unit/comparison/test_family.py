from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from recbench.comparison.family import Family, compare_all
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]


def runs(
    make_bundle: MakeBundle, method: str, hit_rate: float, *, first: int, users: int = 400
) -> list[Bundle]:
    """Four seeds that hit with `hit_rate`, each at rank 1."""
    rows = [
        (np.random.default_rng(first + seed).random(users) < hit_rate).astype(int).tolist()
        for seed in range(4)
    ]
    return [make_bundle(method, ranks, seed=seed) for seed, ranks in enumerate(rows)]


@pytest.fixture
def family(make_bundle: MakeBundle) -> Family:
    """Two methods that are alike and one that is far below."""
    rates = {"ilrec": 0.50, "sft": 0.49, "sasrec": 0.20}
    sides = {
        name: runs(make_bundle, name, rate, first=10 * place)
        for place, (name, rate) in enumerate(rates.items())
    }
    return compare_all(sides, "ndcg@10")


def test_all_pairs_are_adjusted_together(family: Family) -> None:
    assert [(one.a, one.b) for one in family.comparisons] == [
        ("ilrec", "sft"),
        ("ilrec", "sasrec"),
        ("sft", "sasrec"),
    ]
    expected = multipletests([one.p for one in family.comparisons], method="holm")[1]
    assert [one.p_holm for one in family.comparisons] == pytest.approx(expected)


def test_who_does_not_differ_shares_a_letter_and_ranks(family: Family) -> None:
    places = {one.name: (one.letters, one.ranks) for one in family.standings}
    assert places == {"ilrec": ("a", (1, 2)), "sft": ("a", (1, 2)), "sasrec": ("b", (3, 3))}


def test_a_reference_is_the_second_side_of_every_comparison(make_bundle: MakeBundle) -> None:
    sides = {name: runs(make_bundle, name, 0.3, first=place) for place, name in enumerate("abc")}
    found = compare_all(sides, "ndcg@10", reference="b")
    assert [(one.a, one.b) for one in found.comparisons] == [("a", "b"), ("c", "b")]
    assert all((one.letters, one.ranks) == (None, None) for one in found.standings)


def test_single_checkpoints_get_no_letters(make_bundle: MakeBundle) -> None:
    sides = {name: runs(make_bundle, name, 0.3, first=place)[:1] for place, name in enumerate("abc")}
    assert {one.letters for one in compare_all(sides, "ndcg@10").standings} == {None}


def test_a_side_that_cannot_be_compared_is_named_and_the_rest_goes_on(make_bundle: MakeBundle) -> None:
    sides = {name: runs(make_bundle, name, 0.3, first=place) for place, name in enumerate("ab")}
    sides["c"] = runs(make_bundle, "c", 0.3, first=5, users=401)
    found = compare_all(sides, "ndcg@10")
    assert [(one.a, one.b) for one in found.comparisons] == [("a", "b")]
    assert [(a, b) for a, b, _ in found.refused] == [("a", "c"), ("b", "c")]
    assert "only there: u400" in found.refused[0][2].why


def test_more_tests_in_the_family_make_the_smallest_difference_larger(make_bundle: MakeBundle) -> None:
    sides = {name: runs(make_bundle, name, 0.3, first=place) for place, name in enumerate("abc")}
    of_three = compare_all(sides, "ndcg@10").comparisons[0]
    (alone,) = compare_all({name: sides[name] for name in "ab"}, "ndcg@10").comparisons
    assert alone.standard_error == of_three.standard_error
    assert alone.smallest_difference < of_three.smallest_difference
