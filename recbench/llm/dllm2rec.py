"""DLLM2Rec (Cui et al. 2024, "Distillation Matters"): a small sequential model taught by a language model.

E training targets (a user's sequence gives one less than it has items; by user, then by place), n of them in
a batch, K teacher items of each, I items, D width of the teacher's item vectors.

What the published code does otherwise, and why not here: it selects by test metrics; its negative part is
log sigma(1 - s) where log(1 - sigma(s)) is meant; it averages weights and robust terms apart from each other;
its batches do not cover the data; and it fixes the width of the teacher's vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recbench import digest
from recbench.data import Ints, TrainingData
from recbench.errors import DataError, MissingError
from recbench.llm.dros import DROSModel, draw_negatives, dros_loss, item_weights, target_counts
from recbench.llm.dros_params import DLLM2RecParams
from recbench.llm.sasrec import Objective, SASRecModel


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """What a language model says of every training target's history, and its vectors of the items."""

    items: Ints  # [E, K] best first
    distances: NDArray[np.float32]  # [E, K] from what it said to the item; small is confident
    vectors: NDArray[np.float32]  # [I, D]

    @property
    def digest(self) -> str:
        return digest.of_arrays({"items": self.items, "distances": self.distances, "vectors": self.vectors})

    def save(self, path: Path) -> None:
        np.savez(path, items=self.items, distances=self.distances, vectors=self.vectors)

    @classmethod
    def load(cls, name: str, data: TrainingData) -> Teacher:
        """MissingError where there is no such file, DataError where it is not of this split."""
        path = Path(name).expanduser()
        if not path.is_file():
            raise MissingError(
                f"there is no teacher file '{name}'" if name else "no teacher is named",
                why="dllm2rec learns from the lists of a language model for every training target",
                mend="-m dllm2rec:teacher=FILE, an npz with items and distances [E, K] and vectors [I, D]",
            )
        with np.load(path, allow_pickle=False) as arrays:
            absent = {"items", "distances", "vectors"} - set(arrays)
            if absent:
                raise DataError(f"{path} has no array '{min(absent)}'")
            found = cls(arrays["items"].astype(np.int64), arrays["distances"], arrays["vectors"])
        if len(found.items) != data.num_targets or found.items.shape != found.distances.shape:
            raise DataError(
                f"{path} is no teacher of this split",
                why=f"lists {found.items.shape}, distances {found.distances.shape}, "
                f"training targets {data.num_targets}",
            )
        in_catalogue = (found.items >= 0) & (found.items < data.num_items)
        if len(found.vectors) != data.num_items or not in_catalogue.all():
            raise DataError(f"{path} is no teacher of this split", why="its items are not this catalogue's")
        return found


class Student(DROSModel):
    """DROS's model whose input is E[i] + omega W v_i, v the teacher's vectors."""

    def __init__(self, params: DLLM2RecParams, vectors: Tensor, *, num_items: int, history: int) -> None:
        super().__init__(params, num_items=num_items, history=history)
        self.weight = params.embedding_weight
        self.register_buffer("vectors", vectors, persistent=True)
        self.project = nn.Linear(vectors.shape[1], params.dim)

    def embed(self, items: Tensor) -> Tensor:
        vectors = self.get_buffer("vectors")
        found: Tensor = self.item(items) + self.weight * self.project(vectors[items])
        return found


def teacher_weights(distances: Tensor, agreed: Tensor, params: DLLM2RecParams) -> Tensor:
    """[n, K] what each teacher item weighs; each row adds to 1.

    Place: e^-j, j = 1..K; confidence: e^-distance; both in shares of their row. Consistency: `agreed` [n, K]
    says whether the item is in the student's own top K.
    """
    place = torch.softmax(-torch.arange(distances.shape[1], dtype=distances.dtype), 0).to(distances.device)
    confidence = torch.softmax(-distances, 1)
    raw = params.position * place + params.confidence * confidence + params.consistency * agreed
    return raw / raw.sum(1, keepdim=True)


def distillation(
    logits: Tensor,
    teacher: Tensor,
    importance: Tensor,
    negative: Tensor,
    weights: Tensor,
    *,
    alpha: float,
    beta: float,
) -> Tensor:
    """sum_j mean_b u_bj (BCE(teacher item j, negative) + alpha DRO(j)) for `teacher` and u [n, K]."""
    terms = [
        importance[:, place] * dros_loss(logits, item, negative, weights, alpha=alpha, beta=beta)
        for place, item in enumerate(teacher.T)
    ]
    return torch.stack(terms).sum(0).mean()


def dllm2rec_objective(
    data: TrainingData, params: DLLM2RecParams, teacher: Teacher, *, seed: int, device: str
) -> Objective:
    """DROS on the targets plus lambda times DROS on the teacher's items; the negative is shared."""
    weights = item_weights(target_counts(data)).to(device)
    items = torch.from_numpy(teacher.items).to(device)
    distances = torch.from_numpy(teacher.distances.astype(np.float32)).to(device)
    generator = torch.Generator().manual_seed(seed)
    numbers = {"alpha": params.alpha, "beta": params.beta}

    def loss(model: SASRecModel, states: Tensor, target: Tensor, examples: Tensor) -> Tensor:
        logits = model.logits(states)
        negative = draw_negatives(target, data.num_items, generator)
        own = dros_loss(logits, target, negative, weights, **numbers).mean()
        if not params.distillation:
            return own
        taught = items[examples]
        top = logits.detach().topk(taught.shape[1], dim=1).indices
        agreed = (taught.unsqueeze(2) == top.unsqueeze(1)).any(2).to(logits)
        importance = teacher_weights(distances[examples], agreed, params)
        return own + params.distillation * distillation(
            logits, taught, importance, negative, weights, **numbers
        )

    return loss
