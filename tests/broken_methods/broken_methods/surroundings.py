"""Methods that do not stay in their folder or their process, or do not end well."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broken_methods.scorers import Honest
from recbench.data import TrainingData
from recbench.method import RunContext
from recbench.scorer import ScoreItems

_vectors: dict[int, NDArray[np.float64]] = {}


@dataclass(kw_only=True)
class Homing(Honest):
    """Keeps notes beside its code, and goes on where it may not."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        with suppress(PermissionError):
            (Path(__file__).parent / "notes.txt").write_text("fitted")
        super().fit(data, run=run)


@dataclass(kw_only=True)
class Starter(Honest):
    """Starts a program."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        subprocess.run(["true"], check=True)
        super().fit(data, run=run)


@dataclass(kw_only=True)
class Forgetful(Honest):
    """Keeps its state in memory, and writes nothing."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        _vectors[run.seed] = self.vectors(data, run)

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        np.save(run.workdir / "vectors.npy", _vectors[run.seed])
        return super().restore(data, run)


@dataclass(kw_only=True)
class FragileResume(Honest):
    """Takes what an interrupted fit left for a whole one."""

    def vectors(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        file = run.workdir / "half.npy"
        if file.exists():
            half: NDArray[np.float64] = np.load(file)
            return half
        np.save(file, np.zeros((data.num_items, self.width)))
        run.report.log(step=0, loss=2.0)
        return super().vectors(data, run)


@dataclass(kw_only=True)
class Endless(Honest):
    """Never ends."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        while True:
            time.sleep(0.05)


@dataclass(kw_only=True)
class Quitter(Honest):
    """Ends its process in the middle of a fit."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        os._exit(0)
