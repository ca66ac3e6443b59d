"""Groups of items, by category and by popularity, and the shares that they have of lists and histories.

I items, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Floats, Ints

LEVEL = 2
"""Of a category path `A > B > C`, the label that counts; deep paths have thousands of labels."""
POPULARITY_GROUPS = 8


@dataclass(frozen=True, eq=False)
class Groups:
    """Which item belongs to which group, and with what weight; entries of one item weigh 1 together."""

    item: Ints
    group: Ints
    weight: Floats
    count: int
    size: int
    """The items of the catalogue."""

    @cached_property
    def matrix(self) -> Any:
        """[G, I] the weight of each item in each group, sparse."""
        from scipy.sparse import csr_array

        return csr_array((self.weight, (self.group, self.item)), shape=(self.count, self.size))

    def mass(self, items: NDArray[Any]) -> Floats:
        """[..., G] what `items` [..., I], how often each item is counted, adds to each group."""
        found: Floats = (self.matrix @ items.T).T
        return found


def by_category(categories: Sequence[str], *, level: int = LEVEL) -> Groups:
    """Labels of the items: of a path one level, its last where it is shorter; of other texts each word.

    An item of n labels adds 1/n to each; an item without a label adds nothing.
    """
    labels = [_labels(text, level) for text in categories]
    names = {name: number for number, name in enumerate(sorted({one for row in labels for one in row}))}
    return Groups(
        np.repeat(np.arange(len(labels)), [len(row) for row in labels]),
        np.array([names[one] for row in labels for one in row], dtype=np.int64),
        np.array([1 / len(row) for row in labels for _ in row], dtype=np.float64),
        len(names),
        len(labels),
    )


def by_popularity(popularity: NDArray[Any], *, count: int = POPULARITY_GROUPS) -> Groups:
    """`count` groups of equally many items, the most popular first; equal ones in the catalogue's order."""
    size = len(popularity)
    order = np.argsort(-popularity.astype(np.int64), kind="stable")
    return Groups(order, np.arange(size) * count // size, np.ones(size), count, size)


def gaps(recommended: Floats, history: Floats) -> tuple[Floats, Floats]:
    """DGU and MGU [...] of the masses [..., G] of lists and histories; NaN where either has none at all.

    With d the share of the lists less that of the histories, DGU is max d - min d and MGU the mean of |d|
    over the groups with any mass.
    """
    some = (recommended > 0) | (history > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        d = recommended / recommended.sum(-1, keepdims=True) - history / history.sum(-1, keepdims=True)
        greatest = np.where(some, d, -np.inf).max(-1, initial=-np.inf)
        spread = greatest - np.where(some, d, np.inf).min(-1, initial=np.inf)
        mean = np.where(some, np.abs(d), 0.0).sum(-1) / some.sum(-1)
    return np.where(np.isfinite(spread), spread, np.nan), mean


def _labels(text: str, level: int) -> list[str]:
    if " > " in text:
        path = text.split(" > ")
        return [path[min(level, len(path)) - 1]]
    return list(dict.fromkeys(text.split()))
