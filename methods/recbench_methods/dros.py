"""DROS: sequential recommendation that is robust to shifts of the item distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext, Space
from recbench.ranking import Ranking, rank_in_chunks
from recbench.sequential.params import DROS_VERSION, DROSParams

if TYPE_CHECKING:
    from recbench.sequential.dros import DROSModel

WEIGHTS = "dros.safetensors"


@dataclass(kw_only=True)
class DROS(DROSParams):
    """A small SASRec under binary cross-entropy plus a distributionally robust term (Yang et al. 2023)."""

    version: ClassVar[int] = DROS_VERSION
    kind: ClassVar[Literal["scorer"]] = "scorer"
    space: ClassVar[Space] = {
        "lr": (5e-4, 1e-3, 3e-3),
        "weight_decay": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3),
        "alpha": (0.1, 0.5, 1.0),
    }

    _score: Callable[[Ragged], NDArray[np.float32]] | None = field(default=None, init=False, repr=False)
    _popularity: Ints | None = field(default=None, init=False, repr=False)

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        from recbench.sequential.dros import dros_objective
        from recbench.sequential.sasrec import save, train_sasrec

        objective = dros_objective(data, self, seed=run.child_seed("negatives"), device=run.device)
        model = train_sasrec(
            data,
            self,
            seed=run.child_seed("init"),
            report=run.report,
            threads=run.threads,
            device=run.device,
            build=lambda: self._untrained(data),
            objective=objective,
        )
        save(model, run.workdir / WEIGHTS)

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        from recbench.sequential.sasrec import load, scores

        model = load(run.workdir / WEIGHTS, device=run.device, model=self._untrained(data))
        self._score = partial(scores, model)
        self._popularity = data.catalogue.popularity

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if self._score is None or self._popularity is None:
            raise UsageError("dros was asked to rank before it was loaded", fix="call load first")
        score = self._score
        return rank_in_chunks(lambda chunk: score(chunk.history), requests, self._popularity, k=k)

    def _untrained(self, data: TrainingData) -> DROSModel:
        from recbench.sequential.dros import DROSModel

        return DROSModel(self, num_items=data.num_items, history=data.history)
