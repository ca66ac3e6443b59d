"""DLLM2Rec: a sequential model distilled from a language model's rankings and item vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext, Space
from recbench.ranking import Ranking, rank_in_chunks
from recbench.sequential.params import DROS_VERSION, DLLM2RecParams

WEIGHTS, SHAPE, FACTS = "dllm2rec.safetensors", "dllm2rec.json", "facts.json"


@dataclass(kw_only=True)
class DLLM2Rec(DLLM2RecParams):
    """DROS as the student of a language model: the block's `sft`, or one whose lists are in a file.

    Selected on validation, as every baseline; the published code selects on test.
    """

    version: ClassVar[int] = DROS_VERSION
    kind: ClassVar[Literal["scorer"]] = "scorer"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"tiny": {"sample": 8192}}
    space: ClassVar[Space] = {
        "alpha": (0.1, 0.5, 1.0),
        "embedding_weight": (0.1, 0.3, 0.5),
        "distillation": (0.3, 0.5, 0.7, 1.0),
    }

    teacher: str = ""
    """A file instead of the block's `sft`: an npz with `items` and `distances` [E, K] for the E training
    targets, by user and then by place (-1: none), and `vectors` [I, D]. The bundle records its digest."""
    length: int = 10
    """Items that `sft` lists for a training target."""
    sample: int = 0
    """Training targets for which it is asked, drawn once; 0: all."""
    uses_parent: bool = field(default=True, init=False, repr=False)

    _score: Callable[[Ragged], NDArray[np.float32]] | None = field(default=None, init=False, repr=False)
    _popularity: Ints | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 1 or self.sample < 0:
            raise ValueError("length is at least 1 and sample at least 0")
        self.uses_parent = not self.teacher

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        import torch

        from recbench.llm.signals.dllm2rec import Student, dllm2rec_objective
        from recbench.llm.signals.teacher import Teacher, ask_parent
        from recbench.sequential.sasrec import save, train_sasrec

        if self.uses_parent:
            teacher = ask_parent(data, run, length=self.length, sample=self.sample)
        else:
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
        facts = {"teacher": teacher.digest}
        if run.parent is not None:  # of whose block the run is
            facts["identifiers"] = json.loads((run.parent.workdir / FACTS).read_text())["identifiers"]
        (run.workdir / FACTS).write_text(json.dumps(facts))

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        import torch

        from recbench.llm.signals.dllm2rec import Student
        from recbench.sequential.sasrec import load, scores

        width = json.loads((run.workdir / SHAPE).read_text())["width"]
        blank = torch.zeros(data.num_items, width)  # the weights bring the vectors
        student = Student(self, blank, num_items=data.num_items, history=data.history)
        self._score = partial(scores, load(run.workdir / WEIGHTS, device=run.device, model=student))
        self._popularity = data.catalogue.popularity

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if self._score is None or self._popularity is None:
            raise UsageError("dllm2rec was asked to rank before it was loaded", fix="call load first")
        score = self._score
        return rank_in_chunks(lambda chunk: score(chunk.history), requests, self._popularity, k=k)
