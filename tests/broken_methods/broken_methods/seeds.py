"""Methods whose randomness is not what they say, and that touch what belongs to their process."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from broken_methods.scorers import Honest
from recbench.data import TrainingData
from recbench.method import RunContext


@dataclass(kw_only=True)
class Unseeded(Honest):
    """Draws what no seed decides."""

    def vectors(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        return np.random.default_rng().normal(size=(data.num_items, self.width))


@dataclass(kw_only=True)
class Deaf(Honest):
    """Draws from a seed of its own."""

    def vectors(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        return np.random.default_rng(42).normal(size=(data.num_items, self.width))


@dataclass(kw_only=True)
class Unsteady(Honest):
    """Says that one fit serves all seeds, and draws."""

    stochastic: ClassVar[bool] = False


@dataclass(kw_only=True)
class Seeder(Honest):
    """Seeds the generator that all share."""

    def vectors(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        random.seed(run.seed)
        return super().vectors(data, run)


@dataclass(kw_only=True)
class Drawer(Honest):
    """Draws from the generator that all share."""

    def vectors(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        return super().vectors(data, run) + 1e-9 * np.random.rand()  # that is the fault


@dataclass(kw_only=True)
class Environed(Honest):
    """Sets a variable of its process."""

    def vectors(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        os.environ["OMP_NUM_THREADS"] = "7"
        return super().vectors(data, run)
