"""DLLM2Rec: a sequential model distilled from a language model's rankings and item vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.llm.dros_params import VERSION, DLLM2RecParams
from recbench.method import RunContext, Space
from recbench.ranking import Ranking, rank_in_chunks

WEIGHTS, SHAPE, FACTS = "dllm2rec.safetensors", "dllm2rec.json", "facts.json"


@dataclass(kw_only=True)
class DLLM2Rec(DLLM2RecParams):
    """DROS as the student of a language model that ranked every training history. Selected on validation.

    `teacher` is a file: an npz with `items` and `distances` [E, K] for the E training targets, by user and
    then by place, and `vectors` [I, D]. The bundle records its digest.
    """

    version: ClassVar[int] = VERSION
    kind: ClassVar[Literal["scorer"]] = "scorer"
    space: ClassVar[Space] = {
        "alpha": (0.1, 0.5, 1.0),
        "embedding_weight": (0.1, 0.3, 0.5),
        "distillation": (0.3, 0.5, 0.7, 1.0),
    }

    teacher: str = ""

    _score: Callable[[Ragged], NDArray[np.float32]] | None = field(default=None, init=False, repr=False)
    _popularity: Ints | None = field(default=None, init=False, repr=False)

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        import torch

        from recbench.llm.dllm2rec import Student, Teacher, dllm2rec_objective
        from recbench.llm.sasrec import save, train_sasrec

        teacher = Teacher.load(self.teacher, data)
        vectors = torch.from_numpy(teacher.vectors.astype(np.float32))
        model = train_sasrec(
            data,
            self,
            seed=run.child_seed("init"),
            report=run.report,
            threads=run.threads,
            device=run.device,
            build=lambda: Student(self, vectors, num_items=data.num_items, history=data.history),
            objective=dllm2rec_objective(
                data, self, teacher, seed=run.child_seed("negatives"), device=run.device
            ),
        )
        save(model, run.workdir / WEIGHTS)
        (run.workdir / SHAPE).write_text(json.dumps({"width": vectors.shape[1]}))
        (run.workdir / FACTS).write_text(json.dumps({"teacher": teacher.digest}))

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        import torch

        from recbench.llm.dllm2rec import Student
        from recbench.llm.sasrec import load, scores

        width = json.loads((run.workdir / SHAPE).read_text())["width"]
        blank = torch.zeros(data.num_items, width)  # the weights bring the vectors
        student = Student(self, blank, num_items=data.num_items, history=data.history)
        self._score = partial(scores, load(run.workdir / WEIGHTS, device=run.device, model=student))
        self._popularity = data.catalogue.popularity

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if self._score is None or self._popularity is None:
            raise UsageError("dllm2rec was asked to rank before it was loaded", mend="call load first")
        score = self._score
        return rank_in_chunks(lambda chunk: score(chunk.history), requests, self._popularity, k=k)
