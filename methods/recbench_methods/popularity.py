"""Popularity: every request gets the items that were chosen most often in the training split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from recbench.data import Ints, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext
from recbench.ranking import Ranking, rank_by_scores

STATE = "popularity.npy"


@dataclass(kw_only=True)
class Popularity:
    """The items with the most training interactions, the same for everybody; one fit serves all seeds."""

    version: ClassVar[int] = 1
    kind: ClassVar[Literal["scorer"]] = "scorer"
    stochastic: ClassVar[bool] = False

    _counts: Ints | None = field(default=None, init=False, repr=False)

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        counts = np.bincount(data.sequences.values, minlength=data.num_items)
        np.save(run.workdir / STATE, counts.astype(np.int64))

    def load(self, _data: TrainingData, /, *, run: RunContext) -> None:
        self._counts = np.load(run.workdir / STATE, allow_pickle=False)

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if self._counts is None:
            raise UsageError("popularity was asked to rank before it was loaded", fix="call load first")
        if requests.allowed is None and requests.excluded is None:
            one, score = rank_by_scores(self._counts[None], self._counts, k=k)
            return Ranking(items=one.repeat(len(requests), 0), scores=score.repeat(len(requests), 0))
        items = np.empty((len(requests), k), dtype=np.int64)
        scores = np.empty((len(requests), k))
        for start in range(0, len(requests), 512):
            rows = np.arange(start, min(start + 512, len(requests)))
            chunk = np.broadcast_to(self._counts, (len(rows), len(self._counts)))
            items[rows], scores[rows] = rank_by_scores(chunk, self._counts, k=k, requests=requests.take(rows))
        return Ranking(items=items, scores=scores)
