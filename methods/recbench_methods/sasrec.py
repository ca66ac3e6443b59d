"""SASRec: self-attention over the history, cross-entropy over the whole catalogue at every position."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext, Space
from recbench.ranking import Ranking, rank_in_chunks
from recbench.sequential.params import SASREC_VERSION, SASRecParams


@dataclass(kw_only=True)
class SASRec(SASRecParams):
    """Self-attentive sequential recommendation with full softmax; the reward model of ILRec too.

    Its training is a shared stage: an LLM method that takes its rewards from SASRec finds it done.
    """

    version: ClassVar[int] = SASREC_VERSION
    kind: ClassVar[Literal["scorer"]] = "scorer"
    space: ClassVar[Space] = {
        "lr": (5e-4, 1e-3, 2e-3, 3e-3),
        "dropout": (0.1, 0.3, 0.5),
        "dim": (64, 128),
    }

    _score: Callable[[Ragged], NDArray[np.float32]] | None = field(default=None, init=False, repr=False)
    _popularity: Ints | None = field(default=None, init=False, repr=False)

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        from recbench.sequential.sasrec import RECORD, WEIGHTS, cf_stage

        stage = cf_stage(data, run, self)
        training = json.loads((stage / RECORD).read_text())
        for point in training["curve"]:
            run.report.log(**point)
        run.report.count(**training["counts"])
        shutil.copyfile(stage / WEIGHTS, run.workdir / WEIGHTS)

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        from recbench.sequential.sasrec import WEIGHTS, load, scores

        self._score = partial(scores, load(run.workdir / WEIGHTS, device=run.device))
        self._popularity = data.catalogue.popularity

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if self._score is None or self._popularity is None:
            raise UsageError("sasrec was asked to rank before it was loaded", fix="call load first")
        score = self._score
        return rank_in_chunks(lambda chunk: score(chunk.history), requests, self._popularity, k=k)
