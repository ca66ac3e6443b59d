"""Methods that work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import TrainingData
from recbench.method import RunContext, Space
from toy_methods.base import Base


@dataclass(kw_only=True)
class Noise(Base):
    """Scores drawn at random once."""

    beta: float = 0.1

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        print("a library talks on stdout")
        for step in (1, 2, 3):
            run.report.log(step=step, loss=1.0 / step)
            run.report.progress("training", step, 3)
        super().fit(data, run=run)


@dataclass(kw_only=True)
class Counts(Base):
    """Popularity."""

    stochastic: ClassVar[bool] = False
    version: ClassVar[int] = 3

    def scores(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        del run
        return data.catalogue.popularity.astype(float)


@dataclass(kw_only=True)
class Graded(Base):
    """The nearer `share` is to 1, the more it knows of the validation items; beyond, it fails."""

    space: ClassVar[Space] = {"share": (0.0, 0.5, 1.0, 2.0), "train.lr": {"pretrained": (1e-4,)}}
    share: float = 0.5

    def scores(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        if self.share > 1:
            raise RuntimeError("a share is at most 1")
        known = np.bincount(data.valid.target, minlength=data.num_items)
        return self.share * known + (1 - self.share) * 10 * super().scores(data, run)


@dataclass(kw_only=True)
class Child(Base):
    """Starts from the block's `sft`."""

    starts_from: ClassVar[Literal["base", "parent"]] = "parent"
