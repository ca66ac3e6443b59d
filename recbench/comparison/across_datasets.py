"""Methods over several datasets: average ranks, Friedman, and pairwise tests where there are sets enough.

D datasets, M methods. The unit is the dataset; users and seeds have been averaged before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from recbench.comparison import letters, significance
from recbench.comparison.significance import ALPHA
from recbench.data import Floats
from recbench.errors import CheckError

MOST_EXACT_SETS = 13
"""All 2^13 sign patterns fit into scipy's default number of resamples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """Wilcoxon's signed-rank test of two methods over datasets."""

    a: str
    b: str
    difference: float
    """Of the means over datasets, a - b."""
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    names: tuple[str, ...]
    """By average rank, best first."""
    average_ranks: tuple[float, ...]
    num_sets: int
    sets_needed: int
    """Datasets from which a pair can differ at all: the smallest possible adjusted p is below α."""
    friedman_p: float | None
    """None below three methods or `sets_needed`."""
    pairs: tuple[PairTest, ...]
    cliques: tuple[tuple[str, ...], ...]
    """Largest sets of methods that do not differ beyond noise: the bars of a critical-difference diagram.
    Empty, as `pairs` is, below `sets_needed`."""


def across(names: Sequence[str], means: Floats, *, alpha: float = ALPHA) -> Across:
    """Compare methods by their mean metric `means` [D, M] on each dataset; more is better.

    Wilcoxon with Holm rather than Nemenyi's test of mean ranks, whose verdict on two methods depends on which
    others take part (Benavoli, Corani and Mangili 2016). CheckError unless every number is finite.
    """
    if means.shape[1:] != (len(names),) or not np.isfinite(means).all():
        raise CheckError(f"needs a finite mean of each of {len(names)} methods on every dataset")
    ranks = average_ranks(means)
    order = sorted(range(len(names)), key=lambda method: (ranks[method], names[method]))
    needed = sets_needed(len(names), alpha=alpha)
    enough = len(means) >= needed
    pairs = _pairs(names, means, order) if enough else ()
    ordered = [names[method] for method in order]
    differing = [(pair.a, pair.b) for pair in pairs if pair.p_holm <= alpha]
    return Across(
        names=tuple(ordered),
        average_ranks=tuple(float(ranks[method]) for method in order),
        num_sets=len(means),
        sets_needed=needed,
        friedman_p=_friedman(means) if enough and len(names) > 2 else None,
        pairs=tuple(pairs),
        cliques=tuple(map(tuple, letters.cliques(ordered, differing))) if enough else (),
    )


def average_ranks(means: Floats) -> Floats:
    """[M] the mean rank of each method, 1 the best; equal means share the mean of their ranks."""
    from scipy.stats import rankdata

    ranks: Floats = rankdata(-means, axis=1).mean(0)
    return ranks


def sets_needed(num_methods: int, *, alpha: float = ALPHA) -> int:
    """The datasets from which Wilcoxon's smallest p, 2 / 2^D, times the number of pairs is below alpha."""
    num_pairs = max(1, math.comb(num_methods, 2))
    return math.floor(math.log2(2 * num_pairs / alpha)) + 1


def _pairs(names: Sequence[str], means: Floats, order: Sequence[int]) -> tuple[PairTest, ...]:
    chosen = list(combinations(order, 2))
    p_values = [_wilcoxon(means[:, a] - means[:, b]) for a, b in chosen]
    return tuple(
        PairTest(
            a=names[a],
            b=names[b],
            difference=float((means[:, a] - means[:, b]).mean()),
            p=p,
            p_holm=p_holm,
        )
        for (a, b), p, p_holm in zip(chosen, p_values, significance.holm(p_values), strict=True)
    )


def _wilcoxon(differences: Floats) -> float:
    """Two-sided, exact; with many datasets and ties the normal limit."""
    from scipy.stats import PermutationMethod, wilcoxon

    if not differences.any():
        return 1.0
    exact = len(differences) <= MOST_EXACT_SETS
    return float(wilcoxon(differences, method=PermutationMethod() if exact else "auto").pvalue)


def _friedman(means: Floats) -> float:
    from scipy.stats import friedmanchisquare

    if (means == means[:, :1]).all():
        return 1.0
    return float(friedmanchisquare(*means.T).pvalue)
