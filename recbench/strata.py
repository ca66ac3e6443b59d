"""Groups of requests in which a metric is looked at by itself: by the target's popularity, by the history.

One rule for both: three groups that hold about a third each of what is counted, equal values together. Items
are cut by training interactions, so that the popular items that make up a third of all interactions are the
head; requests are cut by how many items the user has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.context import Context


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stratum:
    name: str
    """`head`, `mid`, `tail`, `long`, `medium`, `short`"""
    rule: str
    rows: NDArray[np.bool_]  # [R]


def of(context: Context) -> list[Stratum]:
    """Strata by the target's popularity and by the history's length; empty ones are left out."""
    popularity, lengths = context.item_popularity, context.history_length
    by_target = _cut(
        context.target_popularity,
        thirds(popularity, popularity),
        ("head", "mid", "tail"),
        "target with {} training interactions",
    )
    by_history = _cut(
        lengths, thirds(lengths, np.ones(len(lengths))), ("long", "medium", "short"), "{} earlier items"
    )
    return [*by_target, *by_history]


def thirds(values: NDArray[Any], weights: NDArray[Any]) -> tuple[int, int]:
    """The largest values from which on one third, and two thirds, of the weight is reached."""
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
