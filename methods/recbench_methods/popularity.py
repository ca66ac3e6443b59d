"""Popularity: every request gets the items with the most training interactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.ranking import Ranking
from recbench.scorer import ScoreItems, Scorer

STATE = "popularity.npy"


@dataclass(kw_only=True)
class Popularity(Scorer):
    """The items with the most training interactions, the same for every user.

    score(i) = number of training interactions of item i. One fit serves all seeds.
    """

    version: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        counts = np.bincount(data.sequences.values, minlength=data.num_items)
        np.save(run.workdir / STATE, counts.astype(np.int64))

    def restore(self, _data: TrainingData, run: RunContext) -> ScoreItems:
        counts = np.load(run.workdir / STATE, allow_pickle=False)
        return lambda requests: np.broadcast_to(counts, (len(requests), len(counts)))

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if requests.allowed is not None or requests.excluded is not None:
            return super().rank(requests, k=k)
        first = super().rank(requests.take(np.arange(len(requests))[:1]), k=k)  # the same for all
        assert first.scores is not None
        return Ranking(
            items=first.items.repeat(len(requests), 0), scores=first.scores.repeat(len(requests), 0)
        )
