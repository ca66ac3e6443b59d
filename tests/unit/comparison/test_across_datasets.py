from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recbench.comparison.across_datasets import across, average_ranks, sets_needed
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
    assert (found.friedman_p, found.pairs, found.cliques) == (None, (), ())


def test_from_the_needed_number_on_the_tests_are_those_of_scipy() -> None:
    values = means(9)
    found = across(NAMES, values)
    assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue)
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
