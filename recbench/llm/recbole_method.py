"""What every method that is a model of RecBole inherits; it adds that model's own settings."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

import numpy as np

from recbench.data import Requests, TrainingData
from recbench.errors import UsageError
from recbench.llm import recbole
from recbench.method import RunContext, Space
from recbench.ranking import Ranking, rank_by_scores

VERSION = 1
"""Raised whenever a number that the adapter produces can change."""


@dataclass(kw_only=True)
class RecBoleMethod:
    """The training that all models share; a subclass names its `model` and declares that model's settings."""

    version: ClassVar[int] = VERSION
    kind: ClassVar[Literal["scorer"]] = "scorer"
    space: ClassVar[Space] = {"lr": (5e-4, 1e-3, 3e-3), "weight_decay": (0.0, 1e-6, 1e-4)}

    lr: float = 1e-3
    batch: int = 2048
    """Targets of an optimiser step, each with its history."""
    weight_decay: float = 0.0
    epochs: int = 100
    patience: int = 10
    """Training ends after this many epochs without a better validation NDCG@10."""

    _loaded: tuple[TrainingData, RunContext] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        recbole.check_model(self.recbole_model())

    def recbole_model(self) -> str:
        """The name of RecBole's class."""
        name: str = getattr(self, "model")  # noqa: B009  # a constant of some subclasses, a field of others
        return name

    def architecture(self) -> dict[str, Any]:
        """The model's own settings, by RecBole's names."""
        shared = {f.name for f in fields(RecBoleMethod)} | {"model"}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in shared}

    def recbole_settings(self) -> dict[str, Any]:
        return {
            "learning_rate": self.lr,
            "train_batch_size": self.batch,
            "weight_decay": self.weight_decay,
            "epochs": self.epochs,
            "stopping_step": self.patience,
            **self.architecture(),
        }

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        recbole.train(self.recbole_model(), self.recbole_settings(), data, run)

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        self._loaded = (data, run)

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if self._loaded is None:
            raise UsageError("a method was asked to rank before it was loaded", mend="call load first")
        data, run = self._loaded
        items = np.full((len(requests), k), -1, dtype=np.int64)
        values = np.full((len(requests), k), np.nan)
        for rows, found in recbole.scores(self.recbole_model(), self.recbole_settings(), data, requests, run):
            items[rows], values[rows] = rank_by_scores(
                found, data.catalogue.popularity, k=k, requests=requests.take(rows)
            )
        return Ranking(items=items, scores=values)
