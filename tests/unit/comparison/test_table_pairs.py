"""All pairs at once say what each pair says alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.comparison import significance, table_pairs
from recbench.data import Floats


def table(seed: int, shape: list[int], num_users: int = 40) -> list[Floats]:
    """Rows of NDCG-like values with as many seeds as `shape` says; users are easy or hard for all."""
    rng = np.random.default_rng(seed)
    ease = rng.random(num_users)
    return [
        np.where(ease + rng.normal(0, 0.4, (seeds, num_users)) > 0.5, rng.choice([1.0, 0.5, 0.3]), 0.0)
        for seeds in shape
    ]


@settings(max_examples=20)
@given(st.integers(0, 999), st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_every_pair_has_the_estimate_of_the_crossed_t(seed: int, shape: list[int]) -> None:
    rows = table(seed, shape)
    indices = list(combinations(range(len(rows)), 2))
    joint = [(a, b) for a, b in indices if len(rows[a]) == len(rows[b]) > 1]
    for together in ([], joint):
        found = table_pairs.pairs(table_pairs.moments(rows), together)
        for number, (a, b) in enumerate(indices):
            alone = significance.crossed_t(rows[a], rows[b], joint=(a, b) in together)
            assert found.difference[number] == pytest.approx(alone.difference, abs=1e-12)
            assert found.half[number] == pytest.approx((alone.high - alone.low) / 2, rel=1e-6, abs=1e-9)
            assert found.p[number] == pytest.approx(alone.p, rel=1e-5, abs=1e-9)


def test_two_single_runs_have_the_paired_t() -> None:
    rows = table(1, [1, 1])
    found = table_pairs.pairs(table_pairs.moments(rows))
    assert found.p[0] == pytest.approx(significance.paired_t(rows[0][0] - rows[1][0]).p)


def test_equal_rows_differ_by_nothing() -> None:
    row = table(2, [3])[0]
    found = table_pairs.pairs(table_pairs.moments([row, row.copy()]), [(0, 1)])
    assert (found.difference[0], found.half[0], found.p[0]) == (0.0, 0.0, 1.0)
    # seeds that differ by less than their users explain add no variance, which then is none at all
    row = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]])
    found = table_pairs.pairs(table_pairs.moments([row, row.copy()]))
    assert (found.difference[0], found.half[0], found.p[0]) == (0.0, 0.0, 1.0)


def test_a_mean_has_the_interval_of_its_users() -> None:
    # 0 and 1 twice each: mean 1/2, sample variance 1/3, error sqrt(1/3 / 4), t at 3 degrees 3.18245
    mean, half = table_pairs.means(table_pairs.moments([np.array([[0.0, 1.0, 0.0, 1.0]])]))
    assert mean[0] == 0.5
    assert half[0] == pytest.approx(3.18245 * (1 / 12) ** 0.5, rel=1e-5)


def test_the_first_group_ties_with_the_best_and_the_second_with_the_best_of_the_rest() -> None:
    mean = np.array([0.1, 0.4, 0.5, 0.3, 0.2])
    differ = np.zeros((5, 5), dtype=bool)
    for a, b in ((2, 3), (2, 4), (2, 0), (1, 4), (1, 0), (3, 0)):  # 1 ties with 2; 4 ties with 3 and 0
        differ[a, b] = differ[b, a] = True
    known = np.ones(5, dtype=bool)
    assert table_pairs.tiers(mean, differ, known) == [None, 1, 1, 2, 2]
    known[2] = False
    assert table_pairs.tiers(mean, differ, known) == [2, 1, None, 1, 2]
