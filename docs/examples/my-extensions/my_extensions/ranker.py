from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recbench.extend import ItemRanker, RankingTask
from recbench.ranges import Count, NotNegative
from recbench.ranking import Ranking


@dataclass(frozen=True, kw_only=True)
class LessPopular(ItemRanker):
    """The best items of the exact search, by log p less a weight times log(1 + training count)."""

    version: ClassVar[int] = 1

    weight: NotNegative = 0.1
    """0 leaves the order of the exact search."""
    pool: Count = 50
    """How many of the best are put in order again."""

    def rank(self, task: RankingTask) -> Ranking:
        found = task.exact(min(max(self.pool, task.k), task.data.num_items))
        counts = task.data.catalogue.popularity[found.items]
        scores = np.where(found.items >= 0, found.scores - self.weight * np.log1p(counts), -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : task.k]
        items = np.take_along_axis(found.items, order, 1)
        best = np.take_along_axis(scores, order, 1)
        return Ranking(items=items, scores=np.where(items >= 0, best, np.nan))
