"""The base of methods that are RecBole's models: shared training settings, checked names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

import numpy as np

from recbench.data import Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext, Space
from recbench.ranges import Count, NotNegative, Positive
from recbench.ranking import Ranking, rank_by_scores
from recbench.scorer import not_loaded
from recbench.sequential import recbole

VERSION = 1
"""Raised whenever a number that the adapter produces can change."""
PARAMETERS: Mapping[str, str] = {
    "learning_rate": "lr",
    "train_batch_size": "batch",
    "weight_decay": "weight_decay",
    "epochs": "epochs",
    "stopping_step": "patience",
}
"""The parameters that all models share: RecBole's names, and ours."""
DECIDED: Mapping[str, str] = {
    "model": "recbole:model=NAME",
    "dataset": "--dataset",
    "seed": "--seed",
    "MAX_ITEM_LIST_LENGTH": "the protocol",
    "train_neg_sample_args": "the model's loss_type",
    "gpu_id": "--gpus",
    "use_gpu": "--gpus",
    "data_path": "the run's folder",
    "checkpoint_dir": "the run's folder",
}
"""RecBole's settings that the run decides, and what sets each. `recbole.FIXED` is equal in all runs."""


@dataclass(kw_only=True)
class RecBoleMethod:
    """A model of RecBole, trained and scored in a child process.

    A subclass names its `model` and declares that model's settings as fields, under RecBole's names.
    """

    version: ClassVar[int] = VERSION
    kind: ClassVar[Literal["scorer"]] = "scorer"
    space: ClassVar[Space] = {"lr": (5e-4, 1e-3, 3e-3), "weight_decay": (0.0, 1e-6, 1e-4)}
    requires: ClassVar[tuple[str, ...]] = ("recbole", "torch")
    extra: ClassVar[str] = "baselines"

    lr: Positive = 1e-3
    """Learning rate of Adam; RecBole's `learning_rate`."""
    batch: Count = 2048
    """Targets of an optimiser step, each with its history."""
    weight_decay: NotNegative = 0.0
    """L2 penalty, as Adam adds it to the gradient."""
    epochs: Count = 100
    """Most passes over the training targets."""
    patience: Count = 10
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
        return {theirs: getattr(self, ours) for theirs, ours in PARAMETERS.items()} | self.architecture()

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        recbole.train(self.recbole_model(), self.recbole_settings(), data, run)

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        self._loaded = (data, run)

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if self._loaded is None:
            raise not_loaded(self)
        data, run = self._loaded
        items = np.full((len(requests), k), -1, dtype=np.int64)
        values = np.full((len(requests), k), np.nan)
        # one child process scores all requests, and hands the scores over in parts
        for rows, scores in recbole.scores(
            self.recbole_model(), self.recbole_settings(), data, requests, run
        ):
            items[rows], values[rows] = rank_by_scores(
                scores, data.catalogue.popularity, k=k, requests=requests.take(rows)
            )
        return Ranking(items=items, scores=values)


def check_settings(names: Iterable[str]) -> None:
    """UsageError for a setting that the run would overwrite, or that would contradict the run's record."""
    for name in names:
        if name in PARAMETERS:
            raise UsageError(
                f"RecBole's '{name}' is the parameter '{PARAMETERS[name]}' here",
                why="it is recorded and tuned under that name",
                fix=f"{PARAMETERS[name]}=VALUE beside settings=, not in it",
            )
        if name in DECIDED or name in recbole.FIXED:
            why = (
                f"{DECIDED[name]} decides it"
                if name in DECIDED
                else f"it is {recbole.FIXED[name]!r} in every run"
            )
            raise UsageError(
                f"RecBole's '{name}' is not a setting of the model", why=why, fix="leave it out of settings="
            )
