"""Metrics of rankings with one target a request: HR, NDCG, MRR. `list_measures` has those of the lists.

A rank is 1-based and 0 where the target is absent, so every metric is a gain that depends on the rank
alone, cut off at K. R requests, K places, I items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.base.extensions import points
from recbench.data import Floats, Ints
from recbench.errors import CheckError, UsageError, unknown_name

# The gain of a target at a rank of at least 1. With one relevant item the ideal DCG is 1.
GAINS: Mapping[str, Callable[[Floats], Floats]] = {
    "hr": np.ones_like,
    "ndcg": lambda rank: 1.0 / np.log2(rank + 1.0),
    "mrr": lambda rank: 1.0 / rank,
}
# With one target a request, recall is the hit rate.
ALIASES = {"recall": "hr"}


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    cutoff: int

    def __str__(self) -> str:
        return f"{self.name}@{self.cutoff}"


def parse(text: str, *, depth: int | None = None) -> Metric:
    """The metric that `ndcg@10` (in any case) names; `recall@10` is `hr@10`.

    Raises UsageError for an unknown name, a cutoff that is not a positive integer, or one below `depth`,
    the length of the rankings: a target beyond it was never looked for.
    """
    name, at, cutoff = text.strip().lower().partition("@")
    name = ALIASES.get(name, name)
    if name not in GAINS and name in points.outside("metric"):
        raise UsageError(
            f"'{name}' is a metric of {points.owner(points.point_of('metric', name))}",
            why="runs are compared and boards are ordered by recbench's own metrics",
            fix=f"recbench score RUN --metric {name}",
        )
    if name not in GAINS:
        raise unknown_name("metric", name, GAINS, fix="--metric ndcg@10")
    if not at or not re.fullmatch(r"0*[1-9][0-9]{0,8}", cutoff, re.ASCII):
        raise UsageError(
            f"'{text}' has no cutoff", why="a metric is name@K with K of at least 1", fix=f"{name}@10"
        )
    if depth is not None and int(cutoff) > depth:
        raise UsageError(
            f"{name}@{int(cutoff)} needs {int(cutoff)} places, the rankings have {depth}",
            why="ranks are stored to the protocol's depth: a target further down was never looked for",
            fix=f"a cutoff of at most {depth}, such as {name}@{depth}",
        )
    return Metric(name, int(cutoff))


def metric_name(name: str) -> str:
    """A metric as it is printed: `NDCG@10`."""
    head, at, cutoff = name.partition("@")
    return (head.upper() if head in ("hr", "ndcg", "mrr") else head) + at + cutoff


def per_request(ranks: NDArray[Any], metric: str | Metric) -> Floats:
    """[R] the metric of each request; 0 where the target is absent or below the cutoff."""
    wanted = parse(metric) if isinstance(metric, str) else metric
    ranks = np.asarray(ranks)
    last = min(wanted.cutoff, max(int(ranks.max(initial=0)), 0))
    gains = np.zeros(last + 2)  # of rank 0, of ranks 1 to `last`, and of all ranks below
    gains[1:-1] = GAINS[wanted.name](np.arange(1.0, last + 1))
    values: Floats = gains[np.clip(ranks, 0, last + 1)]
    return values


def by_user(values: Floats, users: Ints | None) -> Floats:
    """[..., U] a value a user, of `values` [..., R] of requests of which `users` [R] are the users' numbers.

    The mean of a row is that over its requests, and the variance of the mean of its users that of the ratio
    estimator, with m the mean and n_u requests of U users, R in all: m + (U / R) (sum of u's values - m n_u).
    The map is linear, so differences, seeds and their interactions keep what they have for one request a
    user. `users` None: nobody asks twice, and the values stay as they are.
    """
    if users is None:
        return values
    sums, counts = user_sums(values, users)
    mean = values.mean(-1, keepdims=True)
    found: Floats = mean + (sums - mean * counts) * (len(counts) / len(users))
    return found


def user_sums(values: Floats, users: Ints) -> tuple[Floats, Ints]:
    """[..., U] the sum over each user's requests, and their number [U], in the order of the numbers."""
    order = np.argsort(users, kind="stable")
    _, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
    sums: Floats = np.add.reduceat(values[..., order], starts, axis=-1)
    return sums, counts.astype(np.int64)


def summary(ranks: NDArray[Any], cutoffs: Iterable[int]) -> dict[str, float]:
    """Means over requests: `hr@1`, `ndcg@1`, `mrr@1`, ... for each cutoff. CheckError without requests."""
    if len(ranks) == 0:
        raise CheckError("there are no requests to score", why="a mean over no request does not exist")
    wanted = [Metric(name, cutoff) for cutoff in cutoffs for name in GAINS]
    return {str(metric): float(per_request(ranks, metric).mean()) for metric in wanted}


def check_identity(values: Mapping[str, float], *, tolerance: float = 1e-9) -> None:
    """Raise CheckError unless NDCG and MRR fit HR, as they must with one target a request.

    The targets that a cutoff K2 adds to a smaller K1 lie at ranks K1+1..K2, so they add to NDCG between
    1/log2(K2+1) and 1/log2(K1+2) for each hit that they add to HR, and to MRR between 1/K2 and 1/(K1+1).
    Other keys are ignored.
    """
    for name in GAINS.keys() - {"hr"}:
        cutoffs = sorted(
            parse(key).cutoff
            for key in values
            if key.startswith(f"{name}@") and f"hr{key[len(name) :]}" in values
        )
        for near, far in pairwise([0, *cutoffs]):
            hits, gained = (
                values[f"{metric}@{far}"] - (values[f"{metric}@{near}"] if near else 0.0)
                for metric in ("hr", name)
            )
            least, most = GAINS[name](np.array([far, near + 1.0])) * hits
            if not least - tolerance <= gained <= most + tolerance:
                raise CheckError(
                    f"{name}@{far} contradicts hr@{far}",
                    why=f"after {near} it gains {gained:.9g}, possible is {least:.9g} to {most:.9g}",
                )
