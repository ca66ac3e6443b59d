"""Which items followed which in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from recbench.data import Floats, Ints, Ragged
from recbench.ranges import Share


def transitions(
    sequences: Ragged,
    num_items: int,
    *,
    window: int,
    gap_decay: float,
    backwards: Share = 0.0,
    keep_self: bool = False,
) -> Any:
    """Sparse [I, I]: entry (a, b) sums gap_decay^(gap - 1) over the places where b follows a at a gap of at
    most `window` in the same sequence, plus `backwards` times entry (b, a) of that sum."""
    from scipy.sparse import csr_matrix

    values = sequences.values
    left = np.repeat(sequences.offsets[1:], sequences.lengths) - np.arange(len(values))  # with itself
    pairs: list[tuple[Ints, Ints, Floats]] = []
    for gap in range(1, window + 1):
        place = np.flatnonzero(left > gap)
        before, after = values[place], values[place + gap]
        counted = np.ones(len(place), dtype=bool) if keep_self else before != after
        pairs.append((before[counted], after[counted], np.full(counted.sum(), gap_decay ** (gap - 1))))
    row, column, weight = (np.concatenate(part) for part in zip(*pairs, strict=True))
    counts = csr_matrix((weight, (row, column)), shape=(num_items, num_items))
    return (counts + backwards * counts.T).tocsr() if backwards else counts
