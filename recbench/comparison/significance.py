"""Tests and intervals for the difference between two systems that ranked the same users.

U users, S seeds. Numbers in, numbers out; every random draw comes from
the `seed` that is passed. Which test answers which question is decided in `compare`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Floats, Ints
from recbench.errors import CheckError
from recbench.results.metrics import by_user, user_sums

MANY_DISTINCT = 500
"""Distinct values up to which a resample is drawn exactly.

With more, so many users have a gain that the skewness of a resampled mean, at most 1/sqrt(500), moves
the ends of a 95 % interval by at most 0.02 standard errors: less than what drawing 10,000 resamples does.
"""
ALPHA = 0.05
"""The largest adjusted p, the error rate of a family of tests, at which a difference counts."""
LEVEL = 0.95
"""Of every interval."""
POWER = 0.8
"""At which the smallest difference is found."""


FEWEST = 1.0
"""Degrees of freedom that any difference has. What is taken off the seeds' variance can leave a fraction of
one, where no sum of variances has fewer than each of its parts; an interval of a fraction says nothing."""


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """A mean difference with its standard error, degrees of freedom, interval and two-sided p."""

    difference: float
    standard_error: float
    degrees: float
    low: float
    high: float
    p: float


def paired_t(differences: Floats, *, level: float = LEVEL) -> MeanDifference:
    """Student's t for the mean of paired differences [U].

    Where all differences are equal the interval is that point, and p is 1 if it is zero, else 0.
    CheckError for fewer than two users.
    """
    need_two("users", len(differences))
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return t_estimate(float(differences.mean()), error, len(differences) - 1, level)


def crossed_t(a: Floats, b: Floats, *, joint: bool = False, level: float = LEVEL) -> MeanDifference:
    """t for the difference of the means of `a` [S_a, U] and `b` [S_b, U], users crossed with seeds.

    The variance is that of the users' differences of seed means, over U, plus for each side that of its
    seed means, over S, less what the interaction of user and seed already put into both (never below 0).
    Degrees of freedom are Satterthwaite's, from the seed means' variance before that subtraction, and at
    least `FEWEST`. With `joint` seeds row s of both sides belongs to one seed and the seed part is that of
    a - b. A side of one row contributes no seed variance. Every pair has its seeds alone here; `table_pairs`
    lends them those of the block.
    """
    need_two("users", a.shape[1])
    if joint:
        _need_pairs(a, b)
    differences = a.mean(0) - b.mean(0)
    num_users = len(differences)
    variance = float(differences.var(ddof=1)) / num_users
    below = variance * variance / (num_users - 1)
    for side in [a - b] if joint else [a, b]:
        num_seeds = len(side)
        if num_seeds > 1:
            between = float(side.mean(1).var(ddof=1)) / num_seeds
            variance += max(between - interaction(side) / (num_seeds * num_users), 0.0)
            below += between * between / (num_seeds - 1)
    degrees = max(variance * variance / below, FEWEST) if variance > 0 and below > 0 else float(num_users - 1)
    return t_estimate(float(differences.mean()), math.sqrt(variance), degrees, level)


def interaction(values: Floats) -> float:
    """Mean square of what the means of row and column leave over, of a table [S, U]."""
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    degrees: int = (values.shape[0] - 1) * (values.shape[1] - 1)
    return float((residual**2).sum()) / degrees


def t_estimate(mean: float, error: float, degrees: float, level: float = LEVEL) -> MeanDifference:
    """A mean with its standard error as an estimate by Student's t; without an error it is certain."""
    from scipy.special import stdtr, stdtrit

    # The spread of equal numbers is not always computed as zero; a mean so far above it is no estimate.
    if error <= 1e-14 * abs(mean) or error == 0.0:
        return MeanDifference(mean, 0.0, degrees, mean, mean, 1.0 if mean == 0.0 else 0.0)
    half = float(stdtrit(degrees, 0.5 + level / 2)) * error
    p = float(2 * stdtr(degrees, -abs(mean) / error))
    return MeanDifference(mean, error, degrees, mean - half, mean + half, p)


def interval(estimate: MeanDifference, *, level: float) -> tuple[float, float]:
    """Another interval of the same estimate."""
    from scipy.special import stdtrit

    half = float(stdtrit(estimate.degrees, 0.5 + level / 2)) * estimate.standard_error
    return estimate.difference - half, estimate.difference + half


def together(
    estimate: MeanDifference, p_holm: float, num_tests: int, *, alpha: float = ALPHA
) -> tuple[float, float]:
    """The interval that holds with those of all `num_tests` comparisons of its family.

    It has the level 1 - alpha / num_tests. Holm's later steps find more than that: where one of them finds
    the difference the interval ends at 0, so that picture and verdict agree.
    """
    low, high = interval(estimate, level=1 - alpha / num_tests)
    if p_holm > alpha:
        return low, high
    return (max(low, 0.0), high) if estimate.difference > 0 else (low, min(high, 0.0))


def exceeds(estimate: MeanDifference, bound: float = 0.0) -> float:
    """One-sided p of the hypothesis that the true difference is at most `bound`: small where it is larger."""
    from scipy.special import stdtr

    if estimate.standard_error == 0.0:
        return 0.0 if estimate.difference > bound else 1.0
    return float(stdtr(estimate.degrees, (bound - estimate.difference) / estimate.standard_error))


def equivalence(estimate: MeanDifference, margin: float) -> float:
    """p of the two one-sided tests that the true difference is not within -margin..margin."""
    mirrored = replace(estimate, difference=-estimate.difference)
    return max(exceeds(estimate, -margin), exceeds(mirrored, -margin))


def sign_flip(differences: Floats, *, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of the paired permutation test of mean zero: (1 + b) / (1 + resamples).

    `differences` [U] are those of users; of a user who asks repeatedly the sum, so that all its requests flip
    together.

    b counts the sign patterns whose sum is at least as far from zero. Zeros never change the sum. Users
    with the same |difference| are flipped together by one binomial draw, so the cost grows with the
    number of distinct |differences|: a few hundred for a metric of ranks.
    """
    magnitudes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    if len(magnitudes) == 0:
        return 1.0
    rng = np.random.default_rng(seed)
    sums = np.zeros(resamples)
    for magnitude, count in zip(magnitudes, counts, strict=True):
        sums += magnitude * (2 * rng.binomial(count, 0.5, size=resamples) - count)
    # Equal sums, added in another order, may differ in their last digits.
    rounding = 1e-12 * float(magnitudes @ counts)
    extreme = int((np.abs(sums) >= abs(float(differences.sum())) - rounding).sum())
    return (1 + extreme) / (1 + resamples)


def bootstrap_interval(
    values: Floats,
    users: Ints | None = None,
    *,
    resamples: int = 10_000,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` [R], users resampled: of one run, whose seed is given.

    `users` [R] are the users' numbers where some ask repeatedly; a resample takes all requests of a user.
    Users with the same requests are interchangeable, so a resample is a multinomial draw over the distinct
    ones; beyond MANY_DISTINCT of them the ends come from the normal limit of the mean.
    """
    of_users = by_user(values, users)
    num_users = len(of_users)
    need_two("users", num_users)
    if users is None:
        sums, counts = np.unique(values, return_counts=True)
        requests = np.ones(len(sums))
    else:
        pairs, counts = np.unique(np.column_stack(user_sums(values, users)), axis=0, return_counts=True)
        sums, requests = pairs.T
    if len(sums) > MANY_DISTINCT:
        half = NormalDist().inv_cdf(0.5 + level / 2) * float(of_users.std()) / math.sqrt(num_users)
        return float(values.mean()) - half, float(values.mean()) + half
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(num_users, counts / num_users, size=resamples)
    low, high = np.quantile(draws @ sums / (draws @ requests), [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def mcnemar(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Exact two-sided p of McNemar's test that two systems hit [U] equally often; 1 where none differs."""
    from scipy.special import bdtr

    only_a, only_b = _discordant(a, b)
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def mcnemar_mid(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Two-sided mid-p of McNemar's test: what was observed counts half, as 2 (P(less) + P(as much) / 2).

    It errs close to the stated rate, where the exact test stays below (Fagerland, Lydersen and Laake 2013).
    """
    from scipy.special import bdtr

    only_a, only_b = _discordant(a, b)
    number, fewer = only_a + only_b, min(only_a, only_b)
    below = float(bdtr(fewer - 1, number, 0.5)) if fewer else 0.0
    return below + float(bdtr(fewer, number, 0.5))


def _discordant(a: NDArray[Any], b: NDArray[Any]) -> tuple[int, int]:
    """Users whom only `a` hits, and only `b`."""
    hits_a, hits_b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    return int((hits_a & ~hits_b).sum()), int((hits_b & ~hits_a).sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: reject at α where the adjusted p is at most α."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def effect_size(differences: Floats) -> float | None:
    """Cohen's d_z, the mean of paired differences [U] over their standard deviation; None where that is 0."""
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(differences.mean()) / spread if spread > 0 else None


def permutations(num_tests: int, *, alpha: float = ALPHA) -> int:
    """Resamples that let a p-value reach far below `alpha` / `num_tests`: max(10,000, 200 m / α)."""
    return max(10_000, math.ceil(200 * num_tests / alpha))


def _need_pairs(a: Floats, b: Floats) -> None:
    if len(a) != len(b):
        raise CheckError(f"{len(a)} and {len(b)} runs cannot share their seeds")


def need_two(what: str, number: int) -> None:
    if number < 2:
        raise CheckError(f"a comparison needs at least two {what}, there are {number}")
