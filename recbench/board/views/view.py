"""One view of a table: a metric over a stratum of the users, with all pairs of rows tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbench.board.json_values import Record, columns, rows_of_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """A row in a view."""

    mean: float
    half: float
    """Half width of the 95 % interval of the mean, over users and seeds."""
    letters: str | None
    """Shared by methods that do not differ beyond noise; None for a row of fewer seeds than ranks need."""
    ranks: tuple[int, int] | None
    """95 % interval of the rank, together with those of all other rows; None for a row of two seeds."""
    of_checkpoint: bool
    """Whether `ranks` are those of a checkpoint among all rows; they count in no rank of methods."""
    tier: int | None
    """1 for the best row and those not worse, 2 for the best of the others and those not worse than it; None
    for all others, and for a row that is better than none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPair:
    """A pair of rows a < b: a - b, the half width of its 95 % interval, p by Holm over all pairs."""

    difference: float
    half: float
    half_together: float
    """That of the interval which holds together with those of all pairs."""
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One metric over one stratum of the users, with all pairs of rows tested."""

    users: int
    rows: tuple[Placing, ...]
    """In the order of the table."""
    pairs: tuple[ViewPair, ...]
    """In the order of `itertools.combinations`."""

    @property
    def has_tiers(self) -> bool:
        return any(row.tier is not None for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Columns instead of rows: a table of fifty rows has a hundred views of 1,225 pairs."""
        return {
            "users": self.users,
            **columns(self.rows, Placing),
            "pairs": columns(self.pairs, ViewPair),
        }

    @classmethod
    def from_json(cls, record: Record) -> View:
        whole = {**record, "ranks": [ranks and tuple(ranks) for ranks in record["ranks"]]}
        return cls(
            users=record["users"],
            rows=tuple(Placing(**row) for row in rows_of_columns(whole, Placing)),
            pairs=tuple(ViewPair(**pair) for pair in rows_of_columns(record["pairs"], ViewPair)),
        )
