"""Every pair of a table at once, for one metric over some of its users: what a page can switch between.

R rows, S seeds, U users. The estimate of a pair is that of `significance.crossed_t` (which is the paired t
where both sides are one run); here it comes from moments that all pairs share, so that a hundred views of
fifty rows take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from recbench.comparison.significance import LEVEL
from recbench.data import Floats

ROUNDING = 1e-12  # of a variance that is the difference of two; below this share of them it is none


@dataclass(frozen=True, slots=True)
class AllPairs:
    """All pairs a < b of a table in the order of `itertools.combinations`: a - b, 95 % half width, p."""

    difference: Floats
    half: Floats
    p: Floats


@dataclass(frozen=True, slots=True)
class Moments:
    """What the estimates of all pairs are made of."""

    seeds: Sequence[Floats]  # the mean over users of each run, R arrays [S_r]
    residuals: Sequence[Floats]  # what seed and user means leave over, R arrays [S_r, U]
    squares: Sequence[float]  # R sums of squares of the residuals
    covariance: Floats  # [R, R] of the seed means of users
    num_users: int


def moments(values: Sequence[Floats]) -> Moments:
    """Of each row's values [S_r, U]."""
    users = np.stack([side.mean(0) for side in values])
    seeds = [side.mean(1) for side in values]
    residuals = [
        side - seed[:, None] - user + seed.mean()
        for side, seed, user in zip(values, seeds, users, strict=True)
    ]
    squares = [_product(side, side) for side in residuals]
    covariance = np.atleast_2d(np.cov(users))
    return Moments(seeds, residuals, squares, covariance, users.shape[1])


def means(found: Moments) -> tuple[Floats, Floats]:
    """[R] the mean of each row and the half width of its interval over users and seeds."""
    mean = np.array([side.mean() for side in found.seeds])
    variance, below = _users_part(found, np.diag(found.covariance))
    for row in range(len(mean)):
        part = _seeds_part(found, found.seeds[row], found.squares[row])
        variance[row] += part[0]
        below[row] += part[1]
    return mean, _half_and_p(found, mean, variance, below)[0]


def pairs(found: Moments, joint: Sequence[tuple[int, int]] = ()) -> AllPairs:
    """Of every pair of rows; `joint` names the pairs whose seeds belong together one by one."""
    indices = list(combinations(range(len(found.seeds)), 2))
    first, second = np.array(indices, dtype=int).reshape(-1, 2).T
    spread = np.diag(found.covariance)
    mean = np.array([side.mean() for side in found.seeds])
    total = spread[first] + spread[second]
    between = total - 2 * found.covariance[first, second]
    variance, below = _users_part(found, np.where(between > ROUNDING * total, between, 0.0))
    own = [
        _seeds_part(found, side, squares) for side, squares in zip(found.seeds, found.squares, strict=True)
    ]
    together = set(joint)
    for number, (a, b) in enumerate(indices):
        if (a, b) in together:
            shared = _product(found.residuals[a], found.residuals[b])
            squares = found.squares[a] + found.squares[b] - 2 * shared
            parts = [_seeds_part(found, found.seeds[a] - found.seeds[b], squares)]
        else:
            parts = [own[a], own[b]]
        variance[number] += sum(part[0] for part in parts)
        below[number] += sum(part[1] for part in parts)
    difference = mean[first] - mean[second]
    return AllPairs(difference, *_half_and_p(found, difference, variance, below))


def _users_part(found: Moments, variance: Floats) -> tuple[Floats, Floats]:
    part = variance / found.num_users
    return part, part**2 / (found.num_users - 1)


def _product(a: Floats, b: Floats) -> float:
    """The sum of a * b. Not by BLAS: on a busy machine each short sum would wait long for all its threads."""
    return float((a * b).sum())


def _seeds_part(found: Moments, seeds: Floats, squares: float) -> tuple[float, float]:
    """What the seeds add to the variance of a mean, and to the sum that gives the degrees of freedom."""
    num_seeds = len(seeds)
    if num_seeds < 2:
        return 0.0, 0.0
    interaction = squares / ((num_seeds - 1) * (found.num_users - 1))
    between = float(seeds.var(ddof=1)) / num_seeds
    return max(between - interaction / (num_seeds * found.num_users), 0.0), between**2 / (num_seeds - 1)


def _half_and_p(found: Moments, mean: Floats, variance: Floats, below: Floats) -> tuple[Floats, Floats]:
    from scipy.special import stdtr, stdtrit

    error = np.sqrt(variance)
    degrees = np.full(len(mean), found.num_users - 1.0)
    np.divide(variance**2, below, out=degrees, where=(below > 0) & (variance > 0))
    half = stdtrit(degrees, 0.5 + LEVEL / 2) * error
    ratio = np.full(len(mean), np.inf)
    np.divide(np.abs(mean), error, out=ratio, where=error > 0)
    p = np.where((error > 0) | (mean != 0), 2 * stdtr(degrees, -ratio), 1.0)
    return half, p


def tiers(mean: Floats, differ: NDArray[np.bool_], known: NDArray[np.bool_]) -> list[int | None]:
    """1 for the best row and those that tie with it, 2 for the best of the others and its ties, else None.

    differ: [R, R] whether two rows differ beyond noise. Rows that are not `known` have no tier.
    """
    found: list[int | None] = [None] * len(mean)
    left = [row for row in np.argsort(-mean, kind="stable") if known[row]]
    for tier in (1, 2):
        group = [row for row in left if not differ[left[0], row]] if left else []
        for row in group:
            found[row] = tier
        left = [row for row in left if row not in group]
    return found
