"""Methods whose rankings are none, or depend on what they must not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from broken_methods.scorers import Constant, Honest
from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.ranking import Ranking
from recbench.scorer import ScoreItems


@dataclass(kw_only=True)
class Duplicates(Honest):
    """Ranks its best item twice."""

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        found = super().rank(requests, k=k)
        found.items[:, 1] = found.items[:, 0]
        return found


@dataclass(kw_only=True)
class Narrow(Honest):
    """Ranks fewer items than it was asked for."""

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        return super().rank(requests, k=k - 1)


@dataclass(kw_only=True)
class Floats(Honest):
    """Gives items as numbers with a point."""

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        items: Any = super().rank(requests, k=k).items.astype(float)
        return Ranking(items=items)


@dataclass(kw_only=True)
class Listless(Honest):
    """Does not look at candidate lists."""

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        return super().rank(replace(requests, allowed=None), k=k)


@dataclass(kw_only=True)
class FirstCandidate(Honest):
    """Prefers the item that a candidate list begins with."""

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        plain = super().restore(data, run)

        def score(requests: Requests) -> NDArray[Any]:
            scores = plain(requests)
            if requests.allowed is not None:
                scores[np.arange(len(requests)), [row[0] for row in requests.allowed]] += 1e3
            return scores

        return score


@dataclass(kw_only=True)
class Neighbours(Honest):
    """Scores relative to the other requests of a call."""

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        plain = super().restore(data, run)
        return lambda requests: plain(requests) - plain(requests).mean(0)


@dataclass(kw_only=True)
class Counter(Honest):
    """Remembers what it was asked before."""

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        plain, asked = super().restore(data, run), np.zeros(data.num_items)

        def score(requests: Requests) -> NDArray[Any]:
            found = []
            for row in range(len(requests)):
                one = requests.take(np.array([row]))
                found.append(plain(one)[0] + asked)
                asked[one.history[0][-1]] += 1.0
            return np.stack(found)

        return score


@dataclass(kw_only=True)
class Numbered(Constant):
    """Scores an item by its number."""

    stochastic: ClassVar[bool] = False

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        numbers = np.arange(data.num_items, dtype=float)
        return lambda requests: np.broadcast_to(numbers, (len(requests), data.num_items))
