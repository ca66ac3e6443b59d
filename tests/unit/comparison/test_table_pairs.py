"""All pairs at once say what each pair says alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.comparison import seed_variance, significance, table_pairs
from recbench.data import Floats


def table(seed: int, shape: list[int], num_users: int = 40) -> list[Floats]:
    """Rows of NDCG-like values with as many seeds as `shape` says; users are easy or hard for all."""
    rng = np.random.default_rng(seed)
    ease = rng.random(num_users)
    return [
        np.where(ease + rng.normal(0, 0.4, (seeds, num_users)) > 0.5, rng.choice([1.0, 0.5, 0.3]), 0.0)
        for seeds in shape
    ]


def spread(table: Floats) -> tuple[float, float]:
    """Variance of the seed means, and mean square of the interaction, of [S, U] with S > 1."""
    left = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    return float(table.mean(1).var(ddof=1)), float(
        (left**2).sum() / ((len(table) - 1) * (table.shape[1] - 1))
    )


def by_hand(rows: list[Floats], a: int, b: int, *, joint: bool) -> tuple[float, float]:
    """Standard error and degrees of freedom of a - b by the rule of the module, for rows of one block.

    With `joint` seeds all rows share theirs. Written out for one pair, without arrays of pairs.
    """
    num_users = rows[0].shape[1]
    scale = len(rows) / (len(rows) - 1) if joint else 1.0
    common = sum(rows) / len(rows) if joint else 0.0
    found = {row: spread(rows[row] - common) for row in range(len(rows)) if len(rows[row]) > 1}
    found = {row: (scale * between, scale * interaction) for row, (between, interaction) in found.items()}
    degrees = {row: (len(rows[row]) - 1) / scale for row in found}
    whole = sum(degrees.values())
    pool = [sum(degrees[row] * found[row][part] for row in found) / max(whole, 1) for part in (0, 1)]
    squares = sum((degrees[row] * found[row][0]) ** 2 / (degrees[row] + 2) for row in found)
    pool_degrees = (whole * pool[0]) ** 2 / squares - 2 if squares else whole
    pool_degrees = min(max(pool_degrees, min(degrees.values(), default=1)), whole)
    users = float((rows[a].mean(0) - rows[b].mean(0)).var(ddof=1)) / num_users
    sides = []
    for row in [row for row in (a, b) if row in found]:
        seeds, (between, interaction) = len(rows[row]), found[row]
        mine = max(between / seeds - interaction / (seeds * num_users), 0.0)
        lent = max(pool[0] / seeds - pool[1] / (seeds * num_users), 0.0)
        if mine > lent:
            least = min(degrees[row], pool_degrees)
            loses = min(pool[0] / between, 1.0) ** seed_variance.LOSS
            sides.append((mine, between / seeds, least + (pool_degrees - least) * loses))
        else:
            sides.append((lent, pool[0] / seeds, pool_degrees))
    variance = users + sum(part for part, _, _ in sides)
    before = sum(part for _, part, _ in sides)
    below = users**2 / (num_users - 1)
    if before:
        together = before / sum(part / of for _, part, of in sides if part)
        own = [(found[row][0] / len(rows[row]), degrees[row]) for row in (a, b) if row in found]
        least = sum(part for part, _ in own) ** 2 / (sum(part**2 / of for part, of in own) or np.inf)
        below += before**2 / max(together, least)
    return variance**0.5, max(variance**2 / below, 1.0) if below and variance else num_users - 1.0


@settings(max_examples=40)
@given(st.integers(0, 999), st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_each_side_has_the_larger_of_its_own_and_the_pooled_variance(seed: int, shape: list[int]) -> None:
    rows = table(seed, shape)
    found = table_pairs.pairs(table_pairs.moments(rows))
    for number, (a, b) in enumerate(combinations(range(len(rows)), 2)):
        error, degrees = by_hand(rows, a, b, joint=False)
        assert found.difference[number] == pytest.approx(rows[a].mean() - rows[b].mean(), abs=1e-12)
        assert found.standard_error[number] == pytest.approx(error, rel=1e-6, abs=1e-7)
        assert found.degrees[number] == pytest.approx(degrees, rel=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 999), st.integers(2, 5), st.integers(2, 4))
def test_what_rows_of_one_family_share_cancels(seed: int, num_rows: int, num_seeds: int) -> None:
    rows = table(seed, [num_seeds] * num_rows)
    family = table_pairs.Layout([0] * num_rows, [0] * num_rows)
    found = table_pairs.pairs(table_pairs.moments(rows, family))
    for number, (a, b) in enumerate(combinations(range(num_rows), 2)):
        error, degrees = by_hand(rows, a, b, joint=True)
        assert found.standard_error[number] == pytest.approx(error, rel=1e-6, abs=1e-7)
        assert found.degrees[number] == pytest.approx(degrees, rel=1e-6)
    shift = np.random.default_rng(seed).normal(0, 0.2, (num_seeds, 1))  # of each parent
    moved = table_pairs.pairs(table_pairs.moments([row + shift for row in rows], family))
    assert moved.standard_error == pytest.approx(found.standard_error, rel=1e-6, abs=1e-7)
    assert found.joint.all()


@settings(max_examples=20)
@given(st.integers(0, 999), st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_rows_that_nobody_lends_to_have_the_crossed_t(seed: int, shape: list[int]) -> None:
    rows = table(seed, shape)
    apart = table_pairs.Layout(list(range(len(rows))), [None] * len(rows))
    found = table_pairs.pairs(table_pairs.moments(rows, apart))
    half = found.half()
    for number, (a, b) in enumerate(combinations(range(len(rows)), 2)):
        alone = significance.crossed_t(rows[a], rows[b])
        assert half[number] == pytest.approx((alone.high - alone.low) / 2, rel=1e-6, abs=1e-9)
        assert found.p[number] == pytest.approx(alone.p, rel=1e-5, abs=1e-9)


def test_two_rows_of_one_family_have_the_joint_crossed_t() -> None:
    rows = table(5, [3, 3])
    family = table_pairs.Layout([0, 0], [7, 7])
    found = table_pairs.pairs(table_pairs.moments(rows, family))
    assert found.p[0] == pytest.approx(significance.crossed_t(rows[0], rows[1], joint=True).p)


def test_rows_that_move_together_lend_little_to_a_stranger() -> None:
    # three children that follow their parents exactly tell of the seeds no more than one of them
    users = np.array([[0.0, 1.0, 0.0, 1.0]])
    parents = np.array([[0.0], [0.3], [0.9], [0.4]])
    children = [users + parents + 0.1 * number for number in range(3)]
    scorer = np.array([[1.0, 0.0, 0.0, 0.0]])
    layout = table_pairs.Layout([0, 0, 0, 1], [0, 0, 0, None])
    of_three = table_pairs.pairs(table_pairs.moments([*children, scorer], layout))
    alone = significance.crossed_t(children[0], scorer)
    assert of_three.degrees[2] == pytest.approx(alone.degrees)
    assert of_three.standard_error[2] == pytest.approx(alone.standard_error)
    assert list(of_three.lenders) == [(3,), (3,), (3,), (3,), (3,), (3,)]


def test_across_blocks_each_side_has_its_own_blocks() -> None:
    rows = table(8, [3, 3, 4, 4])
    blocks = table_pairs.Layout([0, 0, 1, 1], [None] * 4)
    found = table_pairs.pairs(table_pairs.moments(rows, blocks))
    assert found.lenders[0] == (2,)
    assert found.lenders[1] == (2, 2)
    inside = table_pairs.pairs(table_pairs.moments(rows[:2], table_pairs.Layout([0, 0], [None] * 2)))
    assert (found.standard_error[0], found.degrees[0]) == (inside.standard_error[0], inside.degrees[0])


def test_a_stack_of_tables_has_the_estimates_of_each() -> None:
    many = [table(seed, [3, 2, 1]) for seed in range(4)]
    each = [table_pairs.moments(rows) for rows in many]
    stacked = table_pairs.Moments(
        seeds=[np.stack([one.seeds[row] for one in each]) for row in range(3)],
        covariance=np.stack([one.covariance for one in each]),
        num_users=each[0].num_users,
        layout=each[0].layout,
        interactions=[np.stack([one.interactions[row] for one in each]) for row in range(3)],
        left={},
    )
    found = table_pairs.pairs(stacked)
    for number, one in enumerate(each):
        alone = table_pairs.pairs(one)
        assert found.p[number] == pytest.approx(alone.p)
        assert found.degrees[number] == pytest.approx(alone.degrees)


def test_two_single_runs_have_the_paired_t() -> None:
    rows = table(1, [1, 1])
    found = table_pairs.pairs(table_pairs.moments(rows))
    assert found.p[0] == pytest.approx(significance.paired_t(rows[0][0] - rows[1][0]).p)


def test_equal_rows_differ_by_nothing() -> None:
    row = table(2, [3])[0]
    found = table_pairs.pairs(table_pairs.moments([row, row.copy()], table_pairs.Layout([0, 0], [0, 0])))
    assert (found.difference[0], found.half()[0], found.p[0]) == (0.0, 0.0, 1.0)
    # seeds that differ by less than their users explain add no variance, which then is none at all
    row = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]])
    found = table_pairs.pairs(table_pairs.moments([row, row.copy()]))
    assert (found.difference[0], found.half()[0], found.p[0]) == (0.0, 0.0, 1.0)


def test_a_mean_has_the_interval_of_its_users() -> None:
    # 0 and 1 twice each: mean 1/2, sample variance 1/3, error sqrt(1/3 / 4), t at 3 degrees 3.18245
    found = table_pairs.means(table_pairs.moments([np.array([[0.0, 1.0, 0.0, 1.0]])]))
    assert found.difference[0] == 0.5
    assert found.half()[0] == pytest.approx(3.18245 * (1 / 12) ** 0.5, rel=1e-5)


def test_an_interval_has_one_degree_of_freedom_at_least() -> None:
    """What is taken off the variance of the seeds leaves that of a few users, which has a fraction of one."""
    users = 1000
    values = np.zeros((2, users))
    values[0, :3] = 1.0
    values[1, 3:6] = 2.62
    none = np.zeros_like(values)
    alone = significance.crossed_t(values, none, joint=True)
    family = table_pairs.Layout([0, 0], [0, 0])
    (degrees,) = table_pairs.pairs(table_pairs.moments([values, none], family)).degrees
    assert (alone.degrees, degrees) == (1.0, 1.0)
    assert (alone.low, alone.high) == pytest.approx((-0.0256, 0.0361), abs=1e-3)
