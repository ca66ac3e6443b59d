from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Interval

from recbench.data import Floats, Ints
from recbench.extend import ListMetric, RankMetric, RecommendedLists


@dataclass(frozen=True, kw_only=True)
class RankBiasedPrecision(RankMetric):
    """The target's share of the attention to k places of a user who goes on to the next one with chance p.

    (1 - p) p^(rank - 1) / (1 - p^k), rank-biased precision (Moffat and Zobel 2008) cut off at k.
    """

    version: ClassVar[int] = 1

    persistence: Annotated[float, Interval(gt=0, lt=1)] = 0.8
    """p."""

    def of_ranks(self, ranks: Ints, k: int) -> Floats:
        p = self.persistence
        share = (1 - p) * p ** (ranks - 1.0) / (1 - p**k)
        found: Floats = np.where(ranks > 0, share, 0.0)
        return found


@dataclass(frozen=True, kw_only=True)
class Novelty(ListMetric):
    """Bits of surprise: the mean of -log2 of an item's share of all training interactions."""

    version: ClassVar[int] = 1

    def of_lists(self, lists: RecommendedLists) -> Floats:
        count = np.maximum(lists.item_popularity, 1)  # an item without any is as new as one with one
        surprise = -np.log2(count / count.sum())
        filled = lists.items >= 0
        sums = np.where(filled, surprise[lists.items], 0.0).sum(1)
        found: Floats = sums / np.maximum(filled.sum(1), 1)
        return found
