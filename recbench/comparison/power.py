"""How many seeds and users a difference needs, from the variances that finished runs show.

U users, S seeds a method. The mean of a metric varies with the users that happen to be asked, with the seeds,
and with what a seed does to single users; `significance.crossed_t` is the test whose power is meant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from recbench.comparison import significance
from recbench.comparison.significance import ALPHA, POWER
from recbench.data import Floats

MOST_SEEDS = 100
MOST_USERS = 100_000_000


@dataclass(frozen=True, slots=True)
class Seeds:
    """What varies with the seed of one method, or of both where they share seeds."""

    between: float
    """Variance of the mean over endlessly many users."""
    within: float
    """Variance that a seed adds to each user by itself."""


@dataclass(frozen=True, slots=True)
class Components:
    users: float
    """Variance over users of the difference of two methods, over endlessly many seeds."""
    seeds: tuple[Seeds, ...]
    """One for each method that has seeds; one in all where they are joint."""


def components(a: Floats, b: Floats, *, joint: bool = False) -> Components:
    """Estimated from the values `a` [S_a, U] and `b` [S_b, U]; a side of one row is taken as free of seeds.

    Differences of mean squares, 0 where they come out negative. With few seeds they are known poorly: the
    variance of 3 seeds is off by a factor of 2 or more in half of all cases.
    """
    parts = []
    noise = 0.0
    for side in [a - b] if joint else [a, b]:
        num_seeds, num_users = side.shape
        if num_seeds > 1:
            within = significance.interaction(side)
            between = float(side.mean(1).var(ddof=1)) - within / num_users
            parts.append(Seeds(max(between, 0.0), within))
            noise += within / num_seeds
    users = float((a.mean(0) - b.mean(0)).var(ddof=1)) - noise
    return Components(max(users, 0.0), tuple(parts))


def power(
    difference: float, parts: Components, *, num_seeds: int, num_users: int, alpha: float = ALPHA
) -> float:
    """The probability that the two-sided test finds a true difference."""
    from scipy.stats import nct, t

    error, degrees = _error(parts, num_seeds, num_users)
    if error == 0.0:
        return 1.0 if difference else alpha
    critical = float(t.ppf(1 - alpha / 2, degrees))
    shift = abs(difference) / error
    # scipy's nct loses its digits far out, where the answer is 1 anyway
    return (
        1.0
        if shift > critical + 10
        else float(nct.sf(critical, degrees, shift) + nct.cdf(-critical, degrees, shift))
    )


def _error(parts: Components, num_seeds: int, num_users: int) -> tuple[float, float]:
    """Standard error and degrees of freedom that `crossed_t` is expected to find."""
    if num_users < 2 or (parts.seeds and num_seeds < 2):
        raise ValueError("needs at least two users, and two seeds where there are seeds")
    users = parts.users / num_users + sum(side.within for side in parts.seeds) / (num_seeds * num_users)
    variance = users + sum(side.between for side in parts.seeds) / num_seeds
    below = users * users / (num_users - 1)
    for side in parts.seeds:
        below += ((side.between + side.within / num_users) / num_seeds) ** 2 / (num_seeds - 1)
    return math.sqrt(variance), variance * variance / below if below > 0 else float(num_users - 1)


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
