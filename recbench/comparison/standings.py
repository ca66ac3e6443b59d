"""Where each row of a table stands, from which pairs of rows differ beyond noise: letters, ranks, groups.

Rows of methods are ranked among each other. A row of one seed among many says nothing about its method: its
rank is that of a checkpoint among all rows, and it counts in no rank of methods. A row of two seeds has none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recbench.comparison.letters import letters, rank_intervals
from recbench.data import Floats

Kind = Literal["method", "few seeds", "checkpoint"]
RANKED_SEEDS = 3
"""The fewest seeds with which letters, ranks and groups keep their error rate (docs/statistics.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    letters: str | None = None
    """Shared by methods that do not differ beyond noise."""
    ranks: tuple[int, int] | None = None
    """95 % interval of the rank, together with those of all other rows."""
    of_checkpoint: bool = False
    """Whether `ranks` are those of a checkpoint among all rows."""
    tier: int | None = None
    """1 for the best row and those not worse, 2 for the best of the others and those not worse than it."""


def kind(seeds: Sequence[int | None]) -> Kind:
    """Of a row with these seeds; a seed of None is the one fit that a method has."""
    if None in seeds or len(seeds) >= RANKED_SEEDS:
        return "method"
    return "checkpoint" if len(seeds) == 1 else "few seeds"


def standings(mean: Floats, better: Collection[tuple[int, int]], kinds: Sequence[Kind]) -> list[Standing]:
    """Of each row, where `better` holds each pair (better, worse) of rows that differ beyond noise.

    Where fewer than two rows are of methods, all others are ranked as checkpoints.
    """
    methods = [row for row, one in enumerate(kinds) if one == "method"]
    methods = methods if len(methods) > 1 else []
    checkpoints = [row for row, one in enumerate(kinds) if one != "few seeds" and row not in methods]
    checkpoints = checkpoints if len(mean) > 1 and "checkpoint" in kinds else []
    best_first = [int(row) for row in np.argsort(-mean, kind="stable")]
    among_methods = [row for row in best_first if row in methods]
    inside = [pair for pair in better if pair[0] in methods and pair[1] in methods]
    named = [(str(a), str(b)) for a, b in inside]
    shared = letters([str(row) for row in among_methods], named)
    of_methods = rank_intervals([str(row) for row in among_methods], named)
    of_all = rank_intervals([str(row) for row in best_first], [(str(a), str(b)) for a, b in better])
    tiers = _tiers(among_methods or [row for row in best_first if row in checkpoints], better)
    return [
        Standing(
            letters=shared.get(str(row)),
            ranks=of_all[str(row)] if row in checkpoints else of_methods.get(str(row)),
            of_checkpoint=row in checkpoints,
            tier=tiers.get(row),
        )
        for row in range(len(mean))
    ]


def _tiers(best_first: Sequence[int], better: Collection[tuple[int, int]]) -> dict[int, int]:
    """A row that is better than none of the others is unresolved: it is in no tier, though not worse than the
    best."""
    found: dict[int, int] = {}
    left = list(best_first)
    for tier in (1, 2):
        group = [row for row in left if (left[0], row) not in better]
        left = [row for row in left if row not in group]
        found |= {
            row: tier for row in group if tier == 2 or any((row, other) in better for other in best_first)
        }
    return found
