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
    assert alone.standard_error == pytest.approx(of_three.standard_error, rel=0.01)
    assert alone.smallest_difference < of_three.smallest_difference


def test_the_other_methods_of_the_block_lend_their_seed_variance(make_bundle: MakeBundle) -> None:
    # users differ alike in both; of seed s the first 10 s users hit in addition: means .50, .525, .55, .575
    steady = [make_bundle("steady", [1] * 200 + [0] * 200, seed=seed) for seed in range(4)]
    hits = [200 + 10 * seed for seed in range(4)]
    moving = [
        make_bundle("moving", [1] * (200 + 10 * seed) + [0] * (200 - 10 * seed), seed=seed)
        for seed in range(4)
    ]
    still = [make_bundle("still", [1] * 190 + [0] * 210, seed=seed) for seed in range(4)]
    floor = make_bundle("floor", [0] * 400, seed=None)
    sides = {"steady": steady, "still": still, "moving": moving, "floor": [floor]}
    lent = {(one.a, one.b): one for one in compare_all(sides, "hr@1").comparisons}["steady", "still"]
    alone = compare_all({name: sides[name] for name in ("steady", "still")}, "hr@1").comparisons[0]
    # by themselves their seeds never differ; the block's variance is a third of that of `moving`
    means = np.array(hits) / 400
    assert alone.standard_error**2 == pytest.approx(10 / 400 * (1 - 10 / 400) / 399)
    users = alone.standard_error**2
    table = np.stack([np.arange(400) < number for number in hits]).astype(float)
    left = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    part = (means.var(ddof=1) / 3 - (left**2).sum() / (3 * 399) / 3 / 400) / 4
    assert lent.standard_error**2 == pytest.approx(users + 2 * part)
    assert lent.seed_rule == "the larger of each side's own and its block's, pooled over 3 rows"


def test_picture_and_verdict_of_a_family_agree(family: Family) -> None:
    for one in family.comparisons:
        assert one.p_holm is not None
        assert one.low_together is not None
        assert one.high_together is not None
        assert (one.low_together < 0 < one.high_together) == (one.p_holm > 0.05)
        assert one.low_together <= one.low
        assert one.high_together >= one.high
