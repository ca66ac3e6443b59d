"""DLLM2Rec: a sequential model taught by a language model's rankings and item vectors (Cui et al. 2024).

RecSys 2024, doi 10.1145/3640457.3688118; code of the authors: https://github.com/istarryn/DLLM2Rec
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recbench.data import TrainingData
from recbench.method import RunContext, Space
from recbench.ranges import Count, Whole
from recbench.scorer import ScoreItems, Scorer
from recbench.sequential import DROS_VERSION, DLLM2RecParams

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import DLLM2RecStudent, Teacher

WEIGHTS, SHAPE, FACTS = "dllm2rec.safetensors", "dllm2rec.json", "facts.json"


@dataclass(kw_only=True)
class DLLM2Rec(DLLM2RecParams, Scorer):
    """DROS as the student of a language model: of the block's `sft`, or of one whose lists are in a file.

    L_DROS(target) + distillation * sum_j u_j (BCE + alpha DRO)(teacher's item j); the student's input adds
    the teacher's item vectors, and no negative is an item of the history. The weight u_j of a teacher's item
    adds up its position in the list, its nearness to the teacher's answer, and whether the student lists it
    too.

    Selected on validation, as every baseline; the published code selects on test.
    """

    version: ClassVar[int] = DROS_VERSION
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"scratch": {"sample": 8192}}
    space: ClassVar[Space] = {
        "alpha": (0.1, 0.5, 1.0),
        "embedding_weight": (0.1, 0.3, 0.5),
        "distillation": (0.3, 0.5, 0.7, 1.0),
    }
    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors")
    extra: ClassVar[str] = "train"

    teacher: str = ""
    """A file instead of the block's `sft`: an npz with `items` and `distances` [E, K] for the E training
    targets, by user and then by position (-1: none), and `vectors` [I, D]. The bundle records its digest."""
    length: Count = 10
    """Items that `sft` lists for a training target."""
    sample: Whole = 0
    """Training targets for which `sft` is asked, drawn once; 0: all."""
    uses_parent: bool = field(default=True, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.uses_parent = not self.teacher

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        import torch

        from recbench.llm import dllm2rec_objective
        from recbench.sequential import save_sasrec, train_sasrec

        teacher = self._teacher(data, run)
        vectors = torch.from_numpy(teacher.vectors.astype(np.float32))
        model = train_sasrec(
            data,
            self,
            seed=run.child_seed("init"),
            report=run.report,
            threads=run.threads,
            device=run.device,
            build=lambda: self._student(vectors, data),
            objective=dllm2rec_objective(
                data, self, teacher, seed=run.child_seed("negatives"), device=run.device
            ),
        )
        save_sasrec(model, run.workdir / WEIGHTS)
        (run.workdir / SHAPE).write_text(json.dumps({"width": vectors.shape[1]}))
        facts = {"teacher": teacher.digest}
        if run.parent is not None:
            # the run belongs to the parent's block, so it has the parent's identifiers
            facts["identifiers"] = json.loads((run.parent.workdir / FACTS).read_text())["identifiers"]
        (run.workdir / FACTS).write_text(json.dumps(facts))

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        import torch

        from recbench.sequential import load_sasrec, sasrec_scores

        width = json.loads((run.workdir / SHAPE).read_text())["width"]
        blank = torch.zeros(data.num_items, width)  # the saved weights include the vectors
        model = load_sasrec(run.workdir / WEIGHTS, device=run.device, model=self._student(blank, data))
        return lambda requests: sasrec_scores(model, requests.history)

    def _teacher(self, data: TrainingData, run: RunContext) -> Teacher:
        from recbench.llm import Teacher, ask_parent

        if self.teacher:
            return Teacher.load(self.teacher, data)
        return ask_parent(data, run, length=self.length, sample=self.sample)

    def _student(self, vectors: Tensor, data: TrainingData) -> DLLM2RecStudent:
        from recbench.llm import DLLM2RecStudent

        return DLLM2RecStudent(self, vectors, num_items=data.num_items, history=data.history)
