"""What the toy methods share: they rank by one vector of item scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.ranking import Ranking, rank_by_scores


class Base:
    """Ranks by the vector that `fit` saved."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        np.save(run.workdir / "scores.npy", self.scores(data, run))
        run.report.count(steps=3, trained_tokens=data.num_targets)

    def scores(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        """[I] the score of each item."""
        return run.rng("init").random(data.num_items)

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        self._data, self._scores, self._run = data, np.load(run.workdir / "scores.npy"), run

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        rows = np.broadcast_to(self._scores, (len(requests), len(self._scores)))
        items, scores = rank_by_scores(rows, self._data.catalogue.popularity, k=k, requests=requests)
        return Ranking(items=items, scores=scores)
