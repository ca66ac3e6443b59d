"""Methods that know what they are asked for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from broken_methods.scorers import Honest
from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.scorer import ScoreItems


@dataclass(kw_only=True)
class Thief(Honest):
    """Looks for the test targets where they lie, and goes on where it is refused."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        for path in run.workdir.parents[1].glob("split/*/targets_test.npz"):
            with suppress(PermissionError):
                path.read_bytes()
        super().fit(data, run=run)


@dataclass(kw_only=True)
class Memory(Honest):
    """Learns the validation targets by heart."""

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        answers = {
            tuple(history): target
            for history, target in zip(data.valid.requests.history, data.valid.target, strict=True)
        }
        plain = super().restore(data, run)

        def score(requests: Requests) -> NDArray[Any]:
            scores = plain(requests)
            for row, history in enumerate(requests.history):
                if tuple(history) in answers:
                    scores[row, answers[tuple(history)]] = 1e6
            return scores

        return score
