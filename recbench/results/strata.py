"""Strata: groups of requests for which a metric is computed separately, by target popularity or history.

One rule for both: three groups of about a third each, equal values together. Items are cut by training
interactions: the popular items that make up a third of all interactions are the head. Requests are cut by
the number of items that the user has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.errors import unknown_name
from recbench.results import request_features
from recbench.results.bundle import Bundle
from recbench.results.request_features import Context

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stratum:
    name: str
    """`all`, or `head`, `mid`, `tail`, `long`, `medium`, `short`"""
    rule: str
    rows: NDArray[np.bool_]  # [R]


def of_runs(runs: Sequence[Bundle]) -> list[Stratum]:
    """All users first, then the strata of at least two users, by the features of one of the runs.

    The runs have the same users.
    """
    described = next((run for run in runs if (run.path / request_features.FILE).exists()), None)
    groups = [] if described is None else of(request_features.read(described))
    return [everybody(runs[0]), *(group for group in groups if num_users(group, runs[0]) > 1)]


def num_users(group: Stratum, run: Bundle) -> int:
    """The users of a run with a request in the group."""
    return int(group.rows.sum()) if run.user_numbers is None else len(np.unique(run.user_numbers[group.rows]))


def named(runs: Sequence[Bundle], name: str) -> Stratum:
    """The stratum of that name. MissingError where no run kept its features, UsageError for another name."""
    if name == ALL:
        return everybody(runs[0])
    strata = {stratum.name: stratum for stratum in of_runs(runs)}
    if len(strata) == 1:
        request_features.read(runs[0])  # raises what is missing
    if name not in strata:
        raise unknown_name("stratum", name, strata)
    return strata[name]


def everybody(run: Bundle) -> Stratum:
    return Stratum(name=ALL, rule="all users", rows=np.ones(len(run.ranks), dtype=bool))


def of(features: Context) -> list[Stratum]:
    """Strata by the target's popularity and by the history's length; empty ones are left out."""
    popularity, lengths = features.item_popularity, features.history_length
    by_target = _cut(
        features.target_popularity,
        thirds(popularity, popularity),
        ("head", "mid", "tail"),
        "target with {} training interactions",
    )
    by_history = _cut(
        lengths, thirds(lengths, np.ones(len(lengths))), ("long", "medium", "short"), "{} earlier items"
    )
    return [*by_target, *by_history]


def thirds(values: NDArray[Any], weights: NDArray[Any]) -> tuple[int, int]:
    """The largest values at or above which one third, and two thirds, of the weight is reached."""
    levels, level = np.unique(values, return_inverse=True)
    above = np.cumsum(np.bincount(level, weights=weights)[::-1])
    first, second = (int(levels[::-1][np.argmax(above >= share * above[-1])]) for share in (1 / 3, 2 / 3))
    return first, second


def _cut(values: NDArray[Any], bounds: tuple[int, int], names: tuple[str, ...], rule: str) -> list[Stratum]:
    high, low = bounds
    groups = (
        (values >= high, f"{high} or more"),
        ((values >= low) & (values < high), f"{low} to {high - 1}"),
        (values < low, f"fewer than {low}"),
    )
    return [
        Stratum(name=name, rule=rule.format(span), rows=rows)
        for name, (rows, span) in zip(names, groups, strict=True)
        if rows.any()
    ]
