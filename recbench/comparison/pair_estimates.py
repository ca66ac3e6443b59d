"""Every pair of several sides, each given by its runs: which rows lend each other their seed variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from recbench.base import digest
from recbench.comparison import significance
from recbench.comparison.block import block_of
from recbench.comparison.significance import MeanDifference
from recbench.comparison.table_pairs import AllPairs, Layout, moments, pairs
from recbench.data import Floats, Ints
from recbench.results import strata
from recbench.results.bundle import Bundle
from recbench.results.metrics import by_user, user_sums
from recbench.results.strata import Stratum


@dataclass(frozen=True, slots=True)
class PairEstimate:
    estimate: MeanDifference
    joint: bool
    """Whether the seeds of both sides are taken one by one."""
    seed_rule: str
    """Where the seed variance comes from, in words; empty where there is none."""


def estimates(
    sides: Sequence[Sequence[Bundle]], metric: str, *, stratum: str = strata.ALL
) -> dict[tuple[int, int], PairEstimate]:
    """Of every pair of sides by position, in both directions.

    The runs of a side stand in the order of their seeds, and all must have been measured alike.
    """
    group = strata.named([run for side in sides for run in side], stratum)
    return of_values([values(side, metric, group) for side in sides], layout(sides))


def of_values(sides: Sequence[Floats], where: Layout | None = None) -> dict[tuple[int, int], PairEstimate]:
    """The same of values [S, U] of each side; without a layout all sides are of one block."""
    found = pairs(moments(sides, where))
    half = found.half()
    pairs_of = combinations(range(len(sides)), 2)
    return {
        key: one
        for number, (a, b) in enumerate(pairs_of)
        for key, one in (
            ((a, b), _one(found, half, number, 1)),
            ((b, a), _one(found, half, number, -1)),
        )
    }


def layout(sides: Sequence[Sequence[Bundle]]) -> Layout:
    """Blocks as `block_of` tells them, where methods without a language model form one; families by
    parents."""
    blocks = [digest.canonical_json(block_of(side[0])) for side in sides]
    parents = [_roots(side) for side in sides]
    return Layout(
        [blocks.index(block) for block in blocks],
        [parents.index(roots) if len(roots) > 1 else None for roots in parents],
    )


def values(runs: Sequence[Bundle], metric: str, group: Stratum | None = None) -> Floats:
    """[S, U] the metric of each run and user, or user with requests in the group, as `by_user` gives it."""
    return by_user(of_requests(runs, metric, group), users_of(runs, group))


def of_requests(runs: Sequence[Bundle], metric: str, group: Stratum | None = None) -> Floats:
    """[S, R] the metric of each run and request, or request of the group."""
    rows = slice(None) if group is None else group.rows
    return np.stack([run.per_request(metric)[rows] for run in runs])


def users_of(runs: Sequence[Bundle], group: Stratum | None = None) -> Ints | None:
    """[R] the number of the user of each request, or request of the group; None where nobody asks twice."""
    numbers = runs[0].user_numbers
    return numbers if numbers is None or group is None else numbers[group.rows]


def other_tests(a: Floats, b: Floats, users: Ints | None, metric: str, num_tests: int) -> dict[str, float]:
    """Other tests of one run each, by name, from values [R] of requests; McNemar's needs independent ones."""
    resamples = significance.permutations(num_tests)
    if users is not None:
        sums, _ = user_sums(a - b, users)
        return {"sign-flip permutation by user": significance.sign_flip(sums, resamples=resamples)}
    others = {"sign-flip permutation": significance.sign_flip(a - b, resamples=resamples)}
    if metric.startswith("hr@") and all(np.isin(side, (0, 1)).all() for side in (a, b)):
        others |= {
            "exact McNemar": significance.mcnemar(a, b),
            "mid-p McNemar": significance.mcnemar_mid(a, b),
        }
    return others


def _roots(side: Sequence[Bundle]) -> list[str]:
    """The fit that each run descends from: such seeds are drawn together."""
    return [run.spec.fit.parent or run.spec.fit.id for run in side]


def _one(found: AllPairs, half: Floats, number: int, sign: int) -> PairEstimate:
    difference, reach = sign * float(found.difference[number]), float(half[number])
    return PairEstimate(
        MeanDifference(
            difference,
            float(found.standard_error[number]),
            float(found.degrees[number]),
            difference - reach,
            difference + reach,
            float(found.p[number]),
        ),
        bool(found.joint[number]),
        _rule(found.lenders[number]),
    )


def _rule(lenders: Sequence[int]) -> str:
    if not lenders:
        return ""
    if max(lenders) == 1:
        return "of each side's own seeds, as its block has no other row of several"
    rows = " and ".join(map(str, lenders))
    return f"the larger of each side's own and its block's, pooled over {rows} rows"
