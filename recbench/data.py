"""The data that a method receives: flat arrays, no data frames.

R requests, U users, I items. An item is its row in the catalogue; -1 never appears in this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
"""Items, users, rows or counts."""
Floats = NDArray[np.float64]
"""Scores, weights or log-probabilities."""


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Rows of different length in two flat arrays; row r is `values[offsets[r]:offsets[r + 1]]`."""

    offsets: Ints  # [rows + 1]
    values: Ints  # [sum of lengths]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int] | Ints]) -> Ragged:
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        flat = [np.asarray(row, dtype=np.int64) for row in rows]
        return cls(offsets, np.concatenate(flat) if flat else np.zeros(0, dtype=np.int64))

    @classmethod
    def spans(cls, values: Ints, starts: Ints, ends: Ints) -> Ragged:
        """Row r is `values[starts[r]:ends[r]]`; the spans may overlap."""
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(ends - starts)])
        positions = np.repeat(starts - offsets[:-1], ends - starts) + np.arange(offsets[-1])
        return cls(offsets, values[positions])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Ints:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[Ints]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)

    def take(self, rows: Ints) -> Ragged:
        """The given rows, in the given order."""
        return Ragged.spans(self.values, self.offsets[rows], self.offsets[rows + 1])

    def last(self, n: int) -> Ragged:
        """Each row cut to its last `n` values."""
        return Ragged.spans(
            self.values, np.maximum(self.offsets[:-1], self.offsets[1:] - n), self.offsets[1:]
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Catalogue:
    """The items that can be recommended, in the order that numbers them."""

    item_ids: tuple[str, ...]  # the source's ids
    titles: tuple[str, ...]  # may be empty strings; see the card's text fields
    categories: tuple[str, ...]
    popularity: Ints  # [I] interactions in the training split
    codes: Ints | None = None  # [I, L] semantic ids that came with the dataset

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """The users who ask for items, and what they have seen. Targets are kept apart."""

    user: Ints  # [R] row of the split's user table
    history: Ragged  # R rows, oldest first, cut to the protocol's length, never empty
    allowed: Ragged | None = None  # candidate lists; None means the whole catalogue
    excluded: Ragged | None = None  # seen items, where the protocol masks them

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Ints) -> Requests:
        return Requests(
            user=self.user[rows],
            history=self.history.take(rows),
            allowed=None if self.allowed is None else self.allowed.take(rows),
            excluded=None if self.excluded is None else self.excluded.take(rows),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """Requests with their targets, the items that came next."""

    requests: Requests
    target: Ints  # [R]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingData:
    """All that a method may learn from. `sequences` end before the validation item."""

    catalogue: Catalogue
    sequences: Ragged  # U rows: each user's training items, oldest first, not cut, never empty
    valid: Examples  # for selection only, never for gradient steps
    history: int  # the protocol's window: at most this many items before a target
    sample: Ints | None = None
    """[S] positions in `sequences.values`: the targets that language models train on, where the protocol
    draws a part of them; other methods train on all targets. None: language models do too."""
    digests: Mapping[str, str] = field(default_factory=dict)  # raw, log, split, catalogue

    @property
    def num_items(self) -> int:
        return len(self.catalogue)

    @property
    def num_targets(self) -> int:
        """Training targets: every position of a sequence but its first."""
        return int(np.maximum(self.sequences.lengths - 1, 0).sum())


def arrays_of(ragged: Ragged, prefix: str) -> dict[str, NDArray[Any]]:
    """A ragged array as int64 offsets and int32 values, named for an npz file."""
    return {f"{prefix}_offsets": ragged.offsets, f"{prefix}_values": ragged.values.astype(np.int32)}


def ragged_from(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Ragged:
    """The ragged array that `arrays_of` named with this prefix."""
    return Ragged(arrays[f"{prefix}_offsets"].astype(np.int64), arrays[f"{prefix}_values"].astype(np.int64))
