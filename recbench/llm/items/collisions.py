"""Tell items with equal codes apart by their last code.

I items, L levels, D width of the item vectors, C codes a level.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints

GRID = 1e9
"""Steps between 0 and the largest distance of a prefix. What is nearer to each other is a tie, because the
last digits of a vector are those of a processor's kernels and of the number of threads."""


def to_the_nearest(codes: Ints, vectors: NDArray[Any], *, num_codes: int) -> tuple[Ints, int]:
    """Where items of a prefix collide, give the items of this prefix the distinct last codes that are nearest
    to them together: the assignment with the smallest sum of squared distances.

    The distance of an item to a last code is that of its residual, left by the levels before, to the mean
    residual of all items with this code; a code that no item has comes after all others. Distances are
    compared in steps of GRID, and ties fall by the order of items and codes, so that every machine makes the
    same codes. If a prefix has more items than there are codes, those that get none keep theirs. Returns the
    codes [I, L] and the number of items that were moved.
    """
    from scipy.optimize import linear_sum_assignment

    residual = vectors - sum_of_means(vectors, codes[:, :-1])
    totals = np.zeros((num_codes, vectors.shape[1]))
    np.add.at(totals, codes[:, -1], residual)
    sizes = np.bincount(codes[:, -1], minlength=num_codes)
    centres = totals / np.maximum(sizes, 1)[:, None]
    resolved = codes.copy()
    _, prefix, items = np.unique(codes[:, :-1], axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(prefix.ravel(), kind="stable")
    for members in np.split(order, np.cumsum(items)[:-1]):
        if len(np.unique(codes[members, -1])) == len(members):
            continue
        distance = ((residual[members, None] - centres) ** 2).sum(-1)
        steps = np.rint(distance * (GRID / max(float(distance.max()), 1e-30)))
        steps[:, sizes == 0] = GRID * len(members) + 1
        rows, columns = linear_sum_assignment(steps)
        resolved[members[rows], -1] = columns
    return resolved, int((resolved != codes).any(1).sum())


def to_the_lowest(codes: Ints, *, num_codes: int) -> tuple[Ints, int]:
    """Give items with equal codes distinct last codes, lowest item first, lowest free code first, where there
    are no vectors that would say which code is near.

    The first item of a group keeps its code. If a prefix has no free last code left, the rest of the group
    keeps sharing. Returns the codes and the number of moved items.
    """
    codes = codes.copy()
    taken: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for row in codes:
        taken[tuple(row[:-1])].add(int(row[-1]))
    seen: set[tuple[int, ...]] = set()
    moved = 0
    for row in codes:
        used = taken[tuple(row[:-1])]
        if tuple(row) in seen and len(used) < num_codes:
            row[-1] = next(code for code in range(num_codes) if code not in used)
            used.add(int(row[-1]))
            moved += 1
        seen.add(tuple(row))
    return codes, moved


def count_collided(codes: Ints) -> int:
    """Items that share all their codes with at least one other item."""
    _, counts = np.unique(codes, axis=0, return_counts=True)
    return int(counts[counts > 1].sum())


def sum_of_means(vectors: NDArray[Any], codes: Ints) -> NDArray[np.float64]:
    """[I, D] the sum over levels of the mean residual, left by earlier levels, of items with that code."""
    rebuilt = np.zeros(vectors.shape)
    for column in codes.T:
        residual = vectors - rebuilt
        totals = np.zeros((int(column.max()) + 1, vectors.shape[1]))
        np.add.at(totals, column, residual)
        rebuilt += (totals / np.maximum(np.bincount(column), 1)[:, None])[column]
    return rebuilt
