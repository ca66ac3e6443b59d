"""Methods whose time is known: so long for each step, and for each user that is ranked."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from recbench.data import Requests, TrainingData
from recbench.llm.training.examples import report_drawn
from recbench.method import LLMRun, RunContext
from recbench.ranking import Ranking
from recbench.stages import MAKING
from toy_methods.base import Base
from toy_methods.language import Speaker


@dataclass(kw_only=True)
class Steady(Base):
    """Takes `step` seconds for each of its `steps`, and no setting makes it shorter."""

    steps: int = 10
    step: float = 0.3

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        for done in range(1, self.steps + 1):
            time.sleep(self.step)
            run.report.progress("training", done, self.steps)
        super().fit(data, run=run)


@dataclass(kw_only=True)
class Paced(Speaker):
    """Learns from a row of each `packed` targets as the engine does: steps of `train.batch` rows, of which
    `train.max_rows` may draw some. Takes `begin` seconds before, `shared` for what others could share, and
    `user` for each user."""

    packed: int = 1
    shared: float = 0.0
    begin: float = 0.5
    step: float = 0.25
    user: float = 0.02

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        assert isinstance(run, LLMRun)
        train = run.llm.train
        if self.shared:
            run.report.progress(f"{MAKING}model", 0, 1)
            for done in range(1, 5):
                time.sleep(self.shared / 4)
                run.report.progress("model", done, 4)
            run.report.progress(f"{MAKING}model", 1, 1)
        rows = data.num_targets // self.packed
        if 0 < train.max_rows < rows:
            report_drawn(run.report, train.max_rows, rows)
            rows = train.max_rows
        steps = math.ceil(train.epochs * rows / train.batch)
        time.sleep(self.begin)
        for done in range(1, steps + 1):
            time.sleep(self.step)
            run.report.progress("training", done, steps)
        super().fit(data, run=run)
        run.report.count(steps=steps - 3)  # which the base has counted

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        time.sleep(self.user * len(requests))
        return super().rank(requests, k=k)
