"""Methods that use a shared stage."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.data import TrainingData
from recbench.method import RunContext
from toy_methods.base import Base


@dataclass(kw_only=True)
class Staged(Base):
    """Reads its scores from a stage."""

    width: int = 4

    def scores(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        def build(folder: Path) -> None:
            time.sleep(0.02)
            np.save(folder / "made.npy", np.arange(data.num_items))

        folder = run.stages.get("made", {"size": data.num_items}, build)
        scores: NDArray[np.float64] = np.load(folder / "made.npy") * self.width
        return scores


@dataclass(kw_only=True)
class Resumed(Staged):
    """Stops after its stage in its first attempt, and needs the stage no more in the second."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        if not (run.workdir / "scores.npy").exists():
            super().fit(data, run=run)
            raise RuntimeError("stopped")
