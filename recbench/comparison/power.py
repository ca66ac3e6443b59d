"""How many seeds and users a difference needs, from the variances that finished runs show.

U users, S seeds a method. The mean of a metric varies with the users that happen to be asked, with the seeds,
and with what a seed does to single users; the power is that of the t of `table_pairs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from recbench.comparison import seed_variance
from recbench.comparison.seed_variance import SeedSpread
from recbench.comparison.significance import ALPHA, FEWEST, POWER
from recbench.comparison.table_pairs import Moments, seed_spreads
from recbench.data import Floats

QUADRATURE = 100
MOST_SEEDS = 100
MOST_USERS = 100_000_000


@dataclass(frozen=True, slots=True)
class Seeds:
    """What varies with the seed of one method, or of both where they share seeds."""

    between: float
    """Variance of the mean over endlessly many users."""
    within: float
    """Variance that a seed adds to each user by itself."""
    rows: float = 1.0
    """How many rows know it: so many times S - 1 are its degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Components:
    users: float
    """Variance over users of the difference of two methods, over endlessly many seeds."""
    seeds: tuple[Seeds, ...]
    """One for each method that has seeds."""
    one_pool: bool = False
    """Whether the seeds of both are known from the same rows."""


def components(found: Moments) -> dict[tuple[int, int], Components]:
    """Of every pair of rows a < b; a row of one run is taken as free of seeds.

    Differences of mean squares, 0 where they come out negative. As in the test, the seeds of a side have the
    larger of its own and its block's variance.
    """
    pairs: dict[tuple[int, int], Components] = {}
    alone, centred = seed_spreads(found)
    for a, b in combinations(range(len(found.seeds)), 2):
        joint = found.together(a, b)
        sides = [side for row in (a, b) if (side := (centred if joint else alone)[row])]
        seeds = tuple(_seeds(own, pool, found.num_users) for own, pool in sides)
        noise = sum(float(own.interaction) / own.num_seeds for own, _ in sides)
        spread = found.covariance[a, a] + found.covariance[b, b] - 2 * found.covariance[a, b]
        pools = {id(pool) for _, pool in sides}
        pairs[a, b] = Components(max(float(spread) - noise, 0.0), seeds, one_pool=len(pools) < len(sides))
    return pairs


def _seeds(own: SeedSpread, pool: SeedSpread, num_users: int) -> Seeds:
    chosen = max((pool, own), key=lambda one: float(one.between - one.interaction / num_users))
    part = seed_variance.side(own, pool, num_users)
    return Seeds(
        between=max(float(chosen.between - chosen.interaction / num_users), 0.0),
        within=float(chosen.interaction),
        rows=float(part.degrees) / (own.num_seeds - 1),
    )


def found_with(shift: float, degrees: float, alpha: float) -> float:
    """The probability that a two-sided t-test at `alpha` finds a difference of `shift` standard errors.

    The noncentral t, as the mean of a normal probability over the quantiles of the estimated standard error.
    """
    from scipy.special import chdtri, ndtr, stdtrit

    quantiles, weights = _quadrature()
    reach = float(stdtrit(degrees, 1 - alpha / 2)) * np.sqrt(chdtri(degrees, 1 - quantiles) / degrees)
    return float(((ndtr(shift - reach) + ndtr(-shift - reach)) * weights).sum())


@cache
def _quadrature() -> tuple[Floats, Floats]:
    """Quantiles and weights of a Gauss rule in u = sin^2, which meets the ends gently, where quantiles run
    away."""
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE)
    angle = (nodes + 1) * np.pi / 4
    return np.sin(angle) ** 2, weights * np.sin(2 * angle) * np.pi / 4


def smallest_difference(
    standard_error: float, degrees: float, *, target: float = POWER, alpha: float = ALPHA
) -> float:
    """The true difference that a two-sided t-test at `alpha` finds with probability `target`."""
    return standard_error * _least(lambda shift: found_with(shift, degrees, alpha) >= target)


def smallest_range(
    standard_error: float, degrees: float, *, target: float = POWER, alpha: float = ALPHA
) -> tuple[float, float]:
    """The smallest difference at the ends of the middle 80 % of what the true standard error may be."""
    from scipy.special import chdtri

    whole = smallest_difference(standard_error, degrees, target=target, alpha=alpha)
    low, high = (math.sqrt(degrees / float(chdtri(degrees, tail))) for tail in (0.1, 0.9))
    return whole * low, whole * high


def power(
    difference: float, parts: Components, *, num_seeds: int, num_users: int, alpha: float = ALPHA
) -> float:
    """The probability that the two-sided test finds a true difference."""
    error, degrees = _error(parts, num_seeds, num_users)
    if error == 0.0:
        return 1.0 if difference else alpha
    return found_with(abs(difference) / error, degrees, alpha)


def _error(parts: Components, num_seeds: int, num_users: int) -> tuple[float, float]:
    """Standard error and degrees of freedom that the test is expected to find."""
    if num_users < 2 or (parts.seeds and num_seeds < 2):
        raise ValueError("needs at least two users, and two seeds where there are seeds")
    users = parts.users / num_users + sum(one.within for one in parts.seeds) / (num_seeds * num_users)
    variance = users + sum(one.between for one in parts.seeds) / num_seeds
    below = users * users / (num_users - 1)
    before = [(one.between + one.within / num_users) / num_seeds for one in parts.seeds]
    of = [one.rows * (num_seeds - 1) for one in parts.seeds]
    if parts.one_pool:
        below += sum(before) * sum(part / degrees for part, degrees in zip(before, of, strict=True))
    else:
        below += sum(part**2 / degrees for part, degrees in zip(before, of, strict=True))
    degrees = variance * variance / below if below > 0 else float(num_users - 1)
    return math.sqrt(variance), max(degrees, FEWEST)


def found_by(
    parts: Components, *, num_seeds: int, num_users: int, target: float = POWER, alpha: float = ALPHA
) -> float:
    """The smallest true difference that so many seeds and users find."""
    error, degrees = _error(parts, num_seeds, num_users)
    return smallest_difference(error, degrees, target=target, alpha=alpha) if error else 0.0


def cheapest(
    difference: float, parts: Components, *, target: float = POWER, alpha: float = ALPHA
) -> tuple[int, int] | None:
    """The seeds and users with the smallest product, which both training and ranking cost; None out of
    reach."""
    best: tuple[int, int] | None = None
    for seeds in range(2, MOST_SEEDS + 1 if parts.seeds else 3):
        users = users_needed(difference, parts, num_seeds=seeds, target=target, alpha=alpha)
        if users is None:
            continue
        if best is None or seeds * users < best[0] * best[1]:
            best = seeds, users
        elif seeds * users > 2 * best[0] * best[1]:  # the users hardly fall any more
            break
    return best


def seeds_needed(
    difference: float, parts: Components, *, num_users: int, target: float = POWER, alpha: float = ALPHA
) -> int | None:
    """The fewest seeds a method, 2 or more, with which a difference is found; None beyond MOST_SEEDS."""
    return _fewest(
        lambda seeds: power(difference, parts, num_seeds=seeds, num_users=num_users, alpha=alpha) >= target,
        MOST_SEEDS,
    )


def users_needed(
    difference: float, parts: Components, *, num_seeds: int, target: float = POWER, alpha: float = ALPHA
) -> int | None:
    """The fewest users; None beyond MOST_USERS: then the seeds alone vary too much."""
    return _fewest(
        lambda users: power(difference, parts, num_seeds=num_seeds, num_users=users, alpha=alpha) >= target,
        MOST_USERS,
    )


def _least(enough: Callable[[float], bool]) -> float:
    """The smallest number above 0 that is enough, to ten digits, where every larger one is too."""
    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _fewest(enough: Callable[[int], bool], most: int) -> int | None:
    """The smallest number from 2 to `most` that is enough, where every larger one is too; None if none is."""
    low, high = 1, 2
    while not enough(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
