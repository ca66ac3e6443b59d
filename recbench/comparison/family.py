"""Several methods on one dataset: all pairs, or each against a reference, adjusted as one family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from recbench.comparison import significance
from recbench.comparison.compare import Comparison, by_seed, compare, distinct, measured_alike
from recbench.comparison.letters import Pair
from recbench.comparison.pair_estimates import PairEstimate, estimates
from recbench.comparison.significance import ALPHA, MeanDifference
from recbench.comparison.standings import kind, standings
from recbench.errors import RecbenchError
from recbench.results.bundle import Bundle
from recbench.results.strata import ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodStanding:
    """A method among the others; letters and ranks are None where the family does not settle them."""

    name: str
    mean: float
    letters: str | None
    ranks: tuple[int, int] | None
    """95 % interval of its rank, together with those of the others."""
    of_checkpoint: bool
    """Whether `ranks` are those of a checkpoint, which count in no rank of methods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    comparisons: tuple[Comparison, ...]
    refused: tuple[tuple[str, str, RecbenchError], ...]
    """Pairs that cannot be compared, with why; they are no part of the family."""
    standings: tuple[MethodStanding, ...]
    """Best mean first."""


def compare_all(
    sides: Mapping[str, Sequence[Bundle]],
    metric: str,
    *,
    reference: str | None = None,
    margin: float | None = None,
    stratum: str = ALL,
    lenders: Sequence[Sequence[Bundle]] = (),
) -> Family:
    """Compare the methods of `sides`, each given by its runs; with a `reference` only with that one.

    `lenders` are other methods that are not compared, but lend the variance of their seeds to those of their
    block. Group letters and intervals of ranks need all pairs; letters also need pairs that concern methods.
    """
    pairs = pairs_of(sides, reference)
    found, refused = [], []
    estimates = _estimates(sides, lenders, metric, stratum)
    for a, b in pairs:
        try:
            one = compare(
                sides[a],
                sides[b],
                metric,
                num_tests=len(pairs),
                margin=margin,
                stratum=stratum,
                estimate=estimates.get((a, b)),
            )
            found.append(replace(one, a=a, b=b))
        except RecbenchError as error:
            refused.append((a, b, error))
    return family_of(found, refused=refused, all_pairs=reference is None)


def pairs_of(names: Iterable[str], reference: str | None) -> list[tuple[str, str]]:
    """The pairs of a family: all of them, or each name with the reference, which stands second."""
    return [
        (a, b) if reference in (None, b) else (b, a)
        for a, b in combinations(names, 2)
        if reference in (None, a, b)
    ]


def family_of(
    found: Sequence[Comparison],
    *,
    refused: Sequence[tuple[str, str, RecbenchError]] = (),
    all_pairs: bool = True,
) -> Family:
    """The comparisons adjusted as one family, and what they say of each method."""
    adjusted = adjust(found)
    return Family(
        comparisons=tuple(adjusted),
        refused=tuple(refused),
        standings=_standings(adjusted, settled=all_pairs and not refused),
    )


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's adjusted p over all of them: the family that was declared beforehand."""
    p_values = significance.holm([one.p for one in comparisons])
    equivalent = significance.holm([p for one in comparisons if (p := one.p_equivalent) is not None])
    adjusted = [in_family(one, p, len(comparisons)) for one, p in zip(comparisons, p_values, strict=True)]
    if len(equivalent) < len(adjusted):
        return adjusted
    return [replace(one, p_equivalent_holm=p) for one, p in zip(adjusted, equivalent, strict=True)]


def beyond_noise(comparisons: Iterable[Comparison], *, alpha: float = ALPHA) -> list[Pair]:
    """(better, worse) for each comparison of a family with an adjusted p of at most alpha."""
    return [
        (comparison.a, comparison.b) if comparison.difference > 0 else (comparison.b, comparison.a)
        for comparison in comparisons
        if comparison.p_holm is not None and comparison.p_holm <= alpha
    ]


def estimate_of(one: Comparison) -> MeanDifference:
    return MeanDifference(one.difference, one.standard_error, one.degrees, one.low, one.high, one.p)


def in_family(one: Comparison, p_holm: float, num_tests: int) -> Comparison:
    """The comparison with its adjusted p and the interval that holds together with those of its family."""
    low, high = significance.together(estimate_of(one), p_holm, num_tests)
    return replace(one, p_holm=p_holm, low_together=low, high_together=high)


def _estimates(
    sides: Mapping[str, Sequence[Bundle]],
    lenders: Sequence[Sequence[Bundle]],
    metric: str,
    stratum: str,
) -> dict[tuple[str, str], PairEstimate]:
    """Of the pairs of sides that were measured alike and may lend each other what they know of seeds."""
    every = {**sides, **{f"lender {number}": lender for number, lender in enumerate(lenders)}}
    every = {name: distinct(runs) for name, runs in every.items()}
    return {
        (group[a], group[b]): one
        for group in measured_alike(every)
        if len(group) > 1
        for (a, b), one in estimates(
            [by_seed(every[name]) for name in group], metric, stratum=stratum
        ).items()
    }


def _standings(comparisons: Sequence[Comparison], *, settled: bool) -> tuple[MethodStanding, ...]:
    seen = {
        name: (mean, seeds)
        for one in comparisons
        for name, mean, seeds in ((one.a, one.mean_a, one.seeds_a), (one.b, one.mean_b, one.seeds_b))
    }
    names = sorted(seen, key=lambda name: (-seen[name][0], name))
    better = [(names.index(a), names.index(b)) for a, b in beyond_noise(comparisons)]
    mean = np.array([seen[name][0] for name in names])
    found = standings(mean, better, [kind(seen[name][1]) for name in names])
    return tuple(
        MethodStanding(
            name=name,
            mean=seen[name][0],
            letters=one.letters if settled else None,
            ranks=one.ranks if settled else None,
            of_checkpoint=settled and one.of_checkpoint,
        )
        for name, one in zip(names, found, strict=True)
    )
