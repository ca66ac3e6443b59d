from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from recbench.comparison import significance
from recbench.comparison.across_datasets import (
    across,
    average_ranks,
    friedman_sets_needed,
    heterogeneity,
    iman_davenport,
    mean_over_sets,
    sets_needed,
)
from recbench.errors import CheckError

NAMES = ("a", "b", "c")


def means(num_sets: int, *, noise: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.array([0.30, 0.25, 0.20]) + rng.normal(0, noise, (num_sets, 3)) + rng.random((num_sets, 1))


def test_average_ranks_share_ties() -> None:
    # set 1: b, a, c -> 2 1 3; set 2: a and c tie above b -> 1.5 3 1.5
    ranks = average_ranks(np.array([[0.2, 0.3, 0.1], [0.4, 0.1, 0.4]]))
    assert ranks.tolist() == [1.75, 2.0, 2.25]


@pytest.mark.parametrize(("methods", "sets"), [(2, 6), (3, 7), (8, 11)])
def test_pairs_are_tested_from_the_number_of_sets_at_which_they_can_differ(methods: int, sets: int) -> None:
    # two methods: 2/2^6 = .031 < .05 < 2/2^5; three: 3 * 2/2^7 = .047; eight: 28 * 2/2^11 = .027
    assert sets_needed(methods) == sets


@given(st.integers(2, 30), st.sampled_from((0.01, 0.05, 0.1)))
def test_the_needed_number_is_the_smallest(methods: int, alpha: float) -> None:
    pairs, sets = methods * (methods - 1) / 2, sets_needed(methods, alpha=alpha)
    assert pairs * 2 / 2**sets < alpha <= pairs * 2 / 2 ** (sets - 1)


def test_below_the_needed_number_only_ranks_are_told() -> None:
    found = across(NAMES, means(6))
    assert found.names == ("a", "b", "c")
    assert found.average_ranks == (1.0, 2.0, 3.0)
    assert (found.pairs, found.cliques) == ((), ())
    assert found.friedman_p is not None  # three methods from 5 sets on
    assert across(NAMES, means(4)).friedman_p is None


def test_from_the_needed_number_on_the_tests_are_those_of_scipy() -> None:
    values = means(9)
    found = across(NAMES, values)
    assert found.friedman_p == iman_davenport(values) == 0.0  # every set ranks them alike
    first = found.pairs[0]
    assert (first.a, first.b) == ("a", "b")
    assert first.p == pytest.approx(stats.wilcoxon(values[:, 0], values[:, 1], method="exact").pvalue)
    assert found.cliques == (("a",), ("b",), ("c",))


def test_methods_that_do_not_differ_form_one_clique() -> None:
    rng = np.random.default_rng(0)
    found = across(NAMES, rng.normal(0, 1, (10, 3)))
    assert len(found.cliques) == 1
    assert set(found.cliques[0]) == set(NAMES)


def test_equal_means_everywhere_are_ties() -> None:
    found = across(NAMES, np.ones((8, 3)))
    assert found.friedman_p == 1.0
    assert {pair.p for pair in found.pairs} == {1.0}


def test_a_missing_mean_is_refused() -> None:
    with pytest.raises(CheckError, match="finite mean"):
        across(NAMES, np.array([[0.1, np.nan, 0.2]]))


def test_iman_and_davenports_f_is_the_analysis_of_variance_of_ranks() -> None:
    # without ties their F is that of a two-way analysis of the ranks, methods against the rest
    values = np.random.default_rng(4).random((6, 4))
    ranks = stats.rankdata(-values, axis=1)
    between = 6 * ((ranks.mean(0) - 2.5) ** 2).sum() / 3
    rest = ((ranks - ranks.mean(0)) ** 2).sum() / 15
    assert iman_davenport(values) == pytest.approx(stats.f.sf(between / rest, 3, 15))


@pytest.mark.slow
@pytest.mark.parametrize("methods", [3, 4, 5, 6, 7, 8, 10, 16])
def test_the_f_of_ranks_keeps_its_level_from_the_sets_needed(methods: int) -> None:
    rng = np.random.default_rng(methods)
    sets = friedman_sets_needed(methods)
    assert sets is not None
    p = np.array([iman_davenport(rng.random((sets, methods))) for _ in range(4000)])
    assert (p <= 0.05).mean() <= 0.06 + 3 * (0.06 * 0.94 / 4000) ** 0.5
    assert friedman_sets_needed(2) is None


def estimates(sizes: tuple[int, ...]) -> list[significance.MeanDifference]:
    rng = np.random.default_rng(6)
    return [
        significance.paired_t(rng.normal(0.01 * number, 0.1, users)) for number, users in enumerate(sizes)
    ]


def test_the_mean_of_one_set_is_its_estimate() -> None:
    (one,) = estimates((40,))
    found = mean_over_sets([one])
    assert (found.difference, found.p) == pytest.approx((one.difference, one.p))
    assert (found.low, found.high) == pytest.approx((one.low, one.high))


def test_the_mean_of_two_sets_is_welchs_t_of_a_sum() -> None:
    # (a + b) / 2 against 0 is a against -b: Welch's t has the same variance and degrees of freedom
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.02, 0.1, 30), rng.normal(0.03, 0.3, 50)
    found = mean_over_sets([significance.paired_t(a), significance.paired_t(b)])
    theirs = stats.ttest_ind(a, -b, equal_var=False)
    assert found.difference == pytest.approx((a.mean() + b.mean()) / 2)
    assert (found.p, found.degrees) == pytest.approx((theirs.pvalue, theirs.df))


def test_heterogeneity_agrees_with_statsmodels() -> None:
    each = estimates((40, 60, 80, 300))
    found = heterogeneity(each)
    assert found is not None
    theirs = combine_effects(
        np.array([one.difference for one in each]), np.array([one.standard_error**2 for one in each])
    )
    assert found[0] == pytest.approx(theirs.test_homogeneity().pvalue)
    assert found[1] == pytest.approx(max(0.0, theirs.i2))
    assert heterogeneity(each[:1]) is None
    assert heterogeneity([*each, significance.paired_t(np.zeros(5))]) is None


def test_the_means_over_sets_are_one_family() -> None:
    each = estimates((40, 60))
    found = across(
        ("a", "b", "c"),
        means(2),
        datasets=("one", "two"),
        differences={("a", "b"): each, ("a", "c"): each[::-1]},
    )
    first, second = found.differences
    assert [one.dataset for one in first.sets] == ["one", "two"]
    assert [one.difference for one in second.sets] == [one.difference for one in each[::-1]]
    assert first.p_holm == pytest.approx(min(1.0, 2 * first.p))
    assert first.low < first.difference < first.high
