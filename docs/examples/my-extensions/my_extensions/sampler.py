from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recbench.data import Ints
from recbench.extend import Draw, Sampler
from recbench.ranges import Count


@dataclass(frozen=True, kw_only=True)
class Matched(Sampler):
    """Items about as popular as the target, so that popularity alone tells none of them from it."""

    pool: Count = 50
    """How many of the items nearest in popularity are drawn from."""

    def draw(self, ask: Draw) -> Ints:
        popularity = ask.data.catalogue.popularity
        examples = ask.examples
        rejected = np.full((len(examples), ask.count), -1, dtype=np.int64)
        for row, target in enumerate(examples.target):
            near = np.argsort(np.abs(popularity - popularity[target]), kind="stable")
            others = near[~np.isin(near, [target, *examples.history[row]])][: self.pool]
            drawn = np.random.default_rng([ask.key, row]).permutation(others)[: ask.count]
            rejected[row, : len(drawn)] = drawn
        return rejected
