"""Methods that keep the contract, and the two ends of what a ranking can know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.scorer import ScoreItems, Scorer


@dataclass(kw_only=True)
class Honest(Scorer):
    """A random vector of an item, and the sum of them over a history: stochastic, and nothing else."""

    width: int = 4
    """Numbers of a vector."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        np.save(run.workdir / "vectors.npy", self.vectors(data, run))
        run.report.log(step=1, loss=1.0)
        run.report.log(step=2, loss=0.5)

    def vectors(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        """[I, width]"""
        return run.rng("init").normal(size=(data.num_items, self.width))

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        vectors: NDArray[np.float64] = np.load(run.workdir / "vectors.npy")

        def score(requests: Requests) -> NDArray[Any]:
            return np.stack([vectors @ vectors[history].sum(0) for history in requests.history])

        return score


@dataclass(kw_only=True)
class Constant(Scorer):
    """Every item scores 0, so the tie rule ranks."""

    stochastic: ClassVar[bool] = False

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None: ...

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        return lambda requests: np.zeros((len(requests), data.num_items))


@dataclass(kw_only=True)
class Oracle(Constant):
    """Is told the answers in a file that no guard knows of."""

    answers: str = ""
    """Folder with `test.npy` and `valid.npy`, the targets in the order of the requests."""

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        known = {name: np.load(f"{self.answers}/{name}.npy") for name in ("test", "valid")}
        validation = {tuple(history) for history in data.valid.requests.history}

        def score(requests: Requests) -> NDArray[Any]:
            scores = np.zeros((len(requests), data.num_items))
            for row, (user, history) in enumerate(zip(requests.user, requests.history, strict=True)):
                phase = "valid" if tuple(history) in validation else "test"
                scores[row, known[phase][user]] = 1.0
            return scores

        return score


@dataclass(kw_only=True)
class Declining(Honest):
    """Draws what no seed decides, and says why."""

    declines: ClassVar[Mapping[str, str]] = {"replays": "its vectors come from a source of true randomness"}

    def vectors(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        return np.random.default_rng().normal(size=(data.num_items, self.width))
