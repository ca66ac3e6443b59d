"""How many seeds and users each pair of methods needs to show a difference, from the runs they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from recbench.comparison import power
from recbench.comparison.compare import compare, share_seeds
from recbench.comparison.pair_estimates import values
from recbench.comparison.significance import ALPHA
from recbench.errors import RecbenchError
from recbench.results.bundle import Bundle

SEEDS = 5
"""The seeds a method with which `users_needed` is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a pair of methods needs on one dataset."""

    dataset: str
    a: str
    b: str
    metric: str
    difference: float
    num_tests: int
    """Size of the family of tests, over which the level is divided."""
    num_users: int
    num_seeds: int | None
    """Of the side with fewer seeds; None where neither side has seeds."""
    smallest_difference: float
    """Found already, with 80 % power, by the runs there are."""
    sd_users: float
    """Standard deviation of a - b over users."""
    sd_seeds: float
    """Standard deviation of a mean over seeds, of the side that varies more."""
    seeds_needed: int | None
    """With these users; None: out of reach, the users vary too much."""
    users_needed: int | None
    """With SEEDS seeds; None: out of reach, the seeds vary too much."""


def needs(
    dataset: str,
    sides: Mapping[str, Sequence[Bundle]],
    metric: str,
    difference: float,
    *,
    num_tests: int | None,
    left_out: Callable[[str], None],
) -> list[Need]:
    """One record for each pair of methods; `num_tests` None: the pairs are the family.

    `left_out` is told of a method with one seed of many, and of a pair that cannot be compared.
    """
    known = {}
    for name, runs in sides.items():
        if len(runs) == 1 and runs[0].seed is not None:
            left_out(f"{name} on {dataset} has one seed, so its variance over seeds is unknown")
        else:
            known[name] = sorted(runs, key=lambda run: (run.seed is not None, run.seed))
    pairs = list(combinations(known, 2))
    found = []
    for a, b in pairs:
        try:
            found.append(
                _need(dataset, (a, known[a]), (b, known[b]), metric, difference, num_tests or len(pairs))
            )
        except RecbenchError as error:
            left_out(f"{a} and {b} on {dataset}: {error.what} ({error.why})")
    return found


def _need(
    dataset: str,
    a: tuple[str, Sequence[Bundle]],
    b: tuple[str, Sequence[Bundle]],
    metric: str,
    difference: float,
    num_tests: int,
) -> Need:
    runs_a, runs_b = a[1], b[1]
    compared = compare(runs_a, runs_b, metric, num_tests=num_tests)
    parts = power.components(
        values(runs_a, metric), values(runs_b, metric), joint=share_seeds(runs_a, runs_b)
    )
    alpha = ALPHA / num_tests
    seeded = [len(runs) for runs in (runs_a, runs_b) if runs[0].seed is not None]
    return Need(
        dataset=dataset,
        a=a[0],
        b=b[0],
        metric=compared.metric,
        difference=difference,
        num_tests=num_tests,
        num_users=compared.num_users,
        num_seeds=min(seeded) if parts.seeds else None,
        smallest_difference=compared.smallest_difference,
        sd_users=parts.users**0.5,
        sd_seeds=max((seeds.between for seeds in parts.seeds), default=0.0) ** 0.5,
        seeds_needed=power.seeds_needed(difference, parts, num_users=compared.num_users, alpha=alpha),
        users_needed=power.users_needed(difference, parts, num_seeds=SEEDS, alpha=alpha),
    )
