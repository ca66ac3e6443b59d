"""The base of methods that rank by item scores: each gives a scoring function, and `rank` is written here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from recbench.data import Ints, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext
from recbench.ranking import Ranking, rank_in_chunks

ScoreItems = Callable[[Requests], NDArray[Any]]
"""Scores [R, I] of all items for R requests; -inf leaves an item out of the ranking."""


class Scorer(ABC):
    """A dataclass of hyperparameters derives from this, and writes `fit` and `restore`.

    @dataclass(kw_only=True)
    class Recent(Scorer):
        '''The items of the history score by their place in it, all others 0.'''

        def fit(self, data, /, *, run):
            pass

        def restore(self, data, run):
            def score(requests):
                scores = np.zeros((len(requests), data.num_items))
                for row, history in enumerate(requests.history):
                    scores[row, history] = np.arange(1, len(history) + 1)
                return scores

            return score

    Not an obligation: a method may write `fit`, `load` and `rank` itself.
    """

    kind: ClassVar[Literal["scorer"]] = "scorer"

    _loaded: tuple[ScoreItems, Ints] | None = None  # no field of the dataclass that derives from this

    @abstractmethod
    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        """Train, and leave all state in `run.workdir`."""

    @abstractmethod
    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        """The scoring function, from the state that `fit` left in `run.workdir`. It is called for up to
        `recbench.ranking.CHUNK` requests at a time."""

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        self._loaded = (self.restore(data, run), data.catalogue.popularity)

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        """The k items with the highest scores; equal scores by the tie rule of `recbench.ranking`."""
        if self._loaded is None:
            raise not_loaded(self)
        score, popularity = self._loaded
        return rank_in_chunks(score, requests, popularity, k=k)


def not_loaded(method: object) -> UsageError:
    """The error for a method that is asked to rank too early."""
    return UsageError(
        f"{type(method).__name__} was asked to rank before it was loaded", fix="call load first"
    )
