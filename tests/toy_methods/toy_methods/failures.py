"""Methods that fail, and methods that wait to be stopped."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recbench.data import Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext, Space
from recbench.ranking import Ranking
from toy_methods.base import Base


@dataclass(kw_only=True)
class Broken(Base):
    """Fails in the way that `how` names."""

    how: str = "error"

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        if self.how == "memory":
            raise MemoryError("no room")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exit":
            sys.exit(3)
        if self.how == "crash":
            os._exit(7)
        if self.how == "usage":
            raise UsageError("no such film", why="it was never made", fix="another film")
        if self.how == "never":
            print("fitted")
        if self.how not in ("late", "never"):
            raise RuntimeError("this method does not work")
        super().fit(data, run=run)

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if self.how == "never":
            print("ranked")
            return super().rank(requests, k=k)
        return Ranking(items=np.zeros((len(requests), k), dtype=np.int64))


@dataclass(kw_only=True)
class Slow(Base):
    """Waits in its first attempt, until it is stopped; continues in the second."""

    space: ClassVar[Space] = {"pace": (1, 2)}
    pace: int = 1

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        checkpoint = run.workdir / "checkpoint"
        if not checkpoint.exists():
            checkpoint.write_text("half way")
            run.report.log(step=1, loss=2.0)
            run.report.progress("training", 1, 2)
            while True:
                time.sleep(0.05)
        run.report.log(step=1, loss=2.0)
        run.report.log(step=2, loss=1.0)
        super().fit(data, run=run)


@dataclass(kw_only=True)
class Fragile(Base):
    """Does not survive its first attempt."""

    how: str = "error"

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        checkpoint = run.workdir / "checkpoint"
        if not checkpoint.exists():
            checkpoint.write_text("half way")
            run.report.progress("training", 1, 2)
            if self.how == "memory":
                import torch

                raise torch.OutOfMemoryError("CUDA out of memory")
            if self.how == "child":
                os._exit(137)
            if self.how == "driver":
                os.kill(os.getppid(), signal.SIGKILL)
            if self.how == "late":
                time.sleep(600)
            raise RuntimeError("not today")
        super().fit(data, run=run)
