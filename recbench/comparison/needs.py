"""How many seeds and users each pair of methods needs to show a difference, from the runs they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from recbench.comparison import power
from recbench.comparison.compare import Comparison, by_seed, compare, distinct, measured_alike
from recbench.comparison.pair_estimates import PairEstimate, estimates, layout, values
from recbench.comparison.power import Components
from recbench.comparison.significance import ALPHA
from recbench.comparison.table_pairs import moments
from recbench.errors import RecbenchError
from recbench.results.bundle import Bundle

SEEDS = 5
"""The seeds a method with which `users_needed` is counted."""
MORE_SEEDS = (10, 20)
"""Of which is told what they would find."""


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
    found_with: Mapping[int, float]
    """By number of seeds, the smallest difference that they would find with these users."""
    seeds_needed: int | None
    """With these users; None: out of reach, the users vary too much."""
    users_needed: int | None
    """With SEEDS seeds; None: out of reach, the seeds vary too much."""
    cheapest_seeds: int | None
    cheapest_users: int | None
    """The seeds and users with the smallest product, which is what both training and ranking cost."""


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
    for name, every in sides.items():
        runs = distinct(every)
        if len(runs) == 1 and runs[0].seed is not None:
            left_out(f"{name} on {dataset} has one seed, so its variance over seeds is unknown")
        else:
            known[name] = by_seed(runs)
    pairs = list(combinations(known, 2))
    estimate: dict[tuple[str, str], PairEstimate] = {}
    parts: dict[tuple[str, str], Components] = {}
    for names in measured_alike(known):
        alike = [known[name] for name in names]
        measured = moments([values(side, metric) for side in alike], layout(alike))
        estimate |= {(names[a], names[b]): one for (a, b), one in estimates(alike, metric).items()}
        parts |= {(names[a], names[b]): one for (a, b), one in power.components(measured).items()}
    found = []
    for a, b in pairs:
        try:
            compared = compare(
                known[a], known[b], metric, num_tests=num_tests or len(pairs), estimate=estimate.get((a, b))
            )
        except RecbenchError as error:
            left_out(f"{a} and {b} on {dataset}: {error.what} ({error.why})")
            continue
        found.append(_need(dataset, compared, a, b, parts[a, b], difference, num_tests or len(pairs)))
    return found


def _need(
    dataset: str, compared: Comparison, a: str, b: str, parts: Components, difference: float, num_tests: int
) -> Need:
    alpha, num_users = ALPHA / num_tests, compared.num_users
    seeded = [len(seeds) for seeds in (compared.seeds_a, compared.seeds_b) if seeds[0] is not None]
    seeds, users = power.cheapest(difference, parts, alpha=alpha) or (None, None)
    return Need(
        dataset=dataset,
        a=a,
        b=b,
        metric=compared.metric,
        difference=difference,
        num_tests=num_tests,
        num_users=num_users,
        num_seeds=min(seeded) if parts.seeds else None,
        smallest_difference=compared.smallest_difference,
        sd_users=parts.users**0.5,
        sd_seeds=max((seeds.between for seeds in parts.seeds), default=0.0) ** 0.5,
        found_with={
            seeds: power.found_by(parts, num_seeds=seeds, num_users=num_users, alpha=alpha)
            for seeds in MORE_SEEDS
        },
        seeds_needed=power.seeds_needed(difference, parts, num_users=num_users, alpha=alpha),
        users_needed=power.users_needed(difference, parts, num_seeds=SEEDS, alpha=alpha),
        cheapest_seeds=seeds if parts.seeds else None,
        cheapest_users=users,
    )
