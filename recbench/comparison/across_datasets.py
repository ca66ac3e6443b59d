"""Methods over several datasets: the mean difference of these sets, average ranks, tests of ranks.

D datasets, M methods. The mean difference is of these sets alone, and its error that of users and seeds on
each. In the tests of ranks the unit is the dataset, so that they tell of other sets too, and need several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from recbench.comparison import letters, significance
from recbench.comparison.significance import ALPHA, LEVEL, MeanDifference
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
class SetDifference:
    """a - b on one dataset, with its 95 % interval."""

    dataset: str
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanOverSets:
    """The mean of a - b over these datasets, with its 95 % interval by the t of users and seeds on each."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    """Adjusted for all such pairs."""
    sets: tuple[SetDifference, ...]
    heterogeneity_p: float | None
    """Cochran's Q: that the difference is the same on all sets; None where one has no error."""
    i_squared: float | None
    """The share of the spread over sets that their errors do not explain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    names: tuple[str, ...]
    """By average rank, best first."""
    average_ranks: tuple[float, ...]
    num_sets: int
    sets_needed: int
    """Datasets from which a pair can differ at all: the smallest possible adjusted p is below α."""
    friedman_p: float | None
    """Friedman's test by the F of Iman and Davenport (1980); None below the sets from which it is valid."""
    differences: tuple[MeanOverSets, ...]
    pairs: tuple[PairTest, ...]
    cliques: tuple[tuple[str, ...], ...]
    """Largest sets of methods that do not differ beyond noise: the bars of a critical-difference diagram.
    Empty, as `pairs` is, below `sets_needed`."""


def across(
    names: Sequence[str],
    means: Floats,
    *,
    datasets: Sequence[str] = (),
    differences: Mapping[tuple[str, str], Sequence[MeanDifference]] | None = None,
    alpha: float = ALPHA,
) -> Across:
    """Compare methods by their mean metric `means` [D, M] on each dataset; more is better.

    `differences` are the pairs whose mean over the `datasets` is told, with the estimate of each set.
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
    differing = [(one.a, one.b) for one in pairs if one.p_holm <= alpha]
    first = friedman_sets_needed(len(names))
    return Across(
        names=tuple(ordered),
        average_ranks=tuple(float(ranks[method]) for method in order),
        num_sets=len(means),
        sets_needed=needed,
        friedman_p=iman_davenport(means) if first is not None and len(means) >= first else None,
        differences=_means_over_sets(datasets, differences or {}),
        pairs=tuple(pairs),
        cliques=tuple(map(tuple, letters.cliques(ordered, differing))) if enough else (),
    )


def mean_over_sets(estimates: Sequence[MeanDifference], *, level: float = LEVEL) -> MeanDifference:
    """The mean of differences that were estimated on each of D sets, independently, of these sets alone.

    Variance: the sum of theirs over D^2; degrees of freedom: Satterthwaite's.
    """
    variances = np.array([one.standard_error**2 for one in estimates])
    mean = float(np.mean([one.difference for one in estimates]))
    below = float((variances**2 / np.array([one.degrees for one in estimates])).sum())
    degrees = float(variances.sum()) ** 2 / below if below > 0 else 1.0
    return significance.t_estimate(mean, math.sqrt(variances.sum()) / len(variances), degrees, level)


def heterogeneity(estimates: Sequence[MeanDifference]) -> tuple[float, float] | None:
    """p of Cochran's Q, and I^2; None where a set has no error."""
    from scipy.special import chdtrc

    errors = np.array([one.standard_error for one in estimates])
    if len(errors) < 2 or not errors.all():
        return None
    weights, values = 1 / errors**2, np.array([one.difference for one in estimates])
    spread = float((weights * (values - (weights @ values) / weights.sum()) ** 2).sum())
    degrees = len(values) - 1
    return float(chdtrc(degrees, spread)), max(0.0, 1 - degrees / spread) if spread > 0 else 0.0


def _means_over_sets(
    datasets: Sequence[str], differences: Mapping[tuple[str, str], Sequence[MeanDifference]]
) -> tuple[MeanOverSets, ...]:
    means = [mean_over_sets(estimates) for estimates in differences.values()]
    adjusted = significance.holm([one.p for one in means])
    found = []
    for ((a, b), estimates), mean, p_holm in zip(differences.items(), means, adjusted, strict=True):
        p, share = heterogeneity(estimates) or (None, None)
        sets = tuple(
            SetDifference(dataset=dataset, difference=one.difference, low=one.low, high=one.high)
            for dataset, one in zip(datasets, estimates, strict=True)
        )
        found.append(
            MeanOverSets(
                a=a,
                b=b,
                difference=mean.difference,
                low=mean.low,
                high=mean.high,
                p=mean.p,
                p_holm=p_holm,
                sets=sets,
                heterogeneity_p=p,
                i_squared=share,
            )
        )
    return tuple(found)


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


def friedman_sets_needed(num_methods: int) -> int | None:
    """The datasets from which Iman and Davenport's F errs in at most 6 % of cases at 5 %; None for two
    methods.

    Counted by drawing ranks: with fewer sets it errs in 6.1 (six methods, 4 sets) to 19 % (three, 3 sets).
    """
    if num_methods < 3:
        return None
    return 3 if num_methods >= 8 else 7 if num_methods == 4 else 5


def iman_davenport(means: Floats) -> float:
    """p of Friedman's statistic by the F distribution (Iman and Davenport 1980), ties shared."""
    from scipy.special import fdtrc
    from scipy.stats import friedmanchisquare

    num_sets, num_methods = means.shape
    if (means == means[:, :1]).all():
        return 1.0
    statistic = float(friedmanchisquare(*means.T).statistic)
    most = num_sets * (num_methods - 1)
    if statistic >= most * (1 - 1e-12):  # every set ranks alike
        return 0.0
    ratio = (num_sets - 1) * statistic / (most - statistic)
    return float(fdtrc(num_methods - 1, (num_methods - 1) * (num_sets - 1), ratio))
