"""DLLM2Rec (Cui et al. 2024, "Distillation Matters"): a small sequential model taught by a language model.

n training targets of a batch, K teacher items of each, H items of a history, I items. Network, losses and
negatives are those of the published code (istarryn/DLLM2Rec, main.py).

Five points of the published code are not followed: it selects by test metrics; its negative part is
log sigma(1 - s) where log(1 - sigma(s)) is meant; it averages weights and robust terms apart from each other;
its batches do not cover the data; and it fixes the width of the teacher's vectors.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from recbench.data import Ragged, TrainingData
from recbench.llm.signals.teacher import Teacher, training_requests
from recbench.sequential.dros import DROSModel, bce, dros_loss, item_weights, robust, target_counts
from recbench.sequential.params import DLLM2RecParams
from recbench.sequential.sasrec import PositionLoss, SASRecModel


class Student(DROSModel):
    """DROS's model with the input E[i] + omega W v_i, where v are the teacher's vectors."""

    def __init__(self, params: DLLM2RecParams, vectors: Tensor, *, num_items: int, history: int) -> None:
        super().__init__(params, num_items=num_items, history=history)
        self.weight = params.embedding_weight
        self.register_buffer("vectors", vectors, persistent=True)
        self.project = nn.Linear(vectors.shape[1], params.dim)

    def embed(self, items: Tensor) -> Tensor:
        vectors = self.get_buffer("vectors")
        embedded: Tensor = self.item(items) + self.weight * self.project(vectors[items])
        return embedded


def teacher_weights(distances: Tensor, agreed: Tensor, params: DLLM2RecParams) -> Tensor:
    """[n, K] the weight of each teacher item; a row sums to 1.

    Position: e^-j, j = 1..K; confidence: e^-distance; both as shares of their row. Consistency: `agreed`
    [n, K] says whether the item is in the student's own top K. Padding has infinite distance and no weight.
    """
    is_item = torch.isfinite(distances)
    position = -torch.arange(distances.shape[1], dtype=distances.dtype, device=distances.device)
    position = torch.softmax(position.expand_as(distances).masked_fill(~is_item, -torch.inf), 1)
    confidence = torch.softmax(-distances, 1)
    raw = params.position * position + params.confidence * confidence + params.consistency * agreed
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
    """sum_j mean_b u_bj (BCE(teacher item j, negative) + alpha DRO(j)) for `teacher` and u [n, K].

    BCE is the sum of its two terms here, where DROS's own loss takes their mean.
    """
    terms = [
        importance[:, column]
        * (2 * bce(logits, item, negative) + alpha * robust(logits, item, weights, beta=beta))
        for column, item in enumerate(teacher.T)
    ]
    return torch.stack(terms).sum(0).mean()


def unseen_negatives(target: Tensor, histories: Tensor, num_items: int, generator: torch.Generator) -> Tensor:
    """[n] one uniform item that is neither the target [n] nor in the history [n, H] (-1: no item).

    If a user has all items, only the target is left out. Drawn on the CPU, so that every device draws the
    same.
    """
    taken = torch.cat([target[:, None], histories], 1).sort(1).values
    known = taken >= 0
    known[:, 1:] &= taken[:, 1:] != taken[:, :-1]
    none_left = known.sum(1, keepdim=True) >= num_items
    known &= ~none_left | (taken == target[:, None])
    free = num_items - known.sum(1)
    draw = torch.rand(target.shape, generator=generator, dtype=torch.float64).to(target.device)
    drawn = (draw * free).long().clamp_max(free - 1)
    for column in range(taken.shape[1]):  # ascending: each taken item moves the later ones up by one
        drawn += known[:, column] & (drawn >= taken[:, column])
    return drawn


def padded(histories: Ragged) -> Tensor:
    """[E, H] a history a row, -1 after its last item."""
    table = np.full((len(histories), int(histories.lengths.max(initial=0))), -1, dtype=np.int64)
    table[np.arange(table.shape[1]) < histories.lengths[:, None]] = histories.values
    return torch.from_numpy(table)


def dllm2rec_objective(
    data: TrainingData, params: DLLM2RecParams, teacher: Teacher, *, seed: int, device: str
) -> PositionLoss:
    """DROS on the targets plus lambda times the distillation of the teacher's items; the negative is shared.

    If the teacher was asked for a part of the targets, the mean over that part replaces the mean over all.
    """
    weights = item_weights(target_counts(data)).to(device)
    items = torch.from_numpy(teacher.items).to(device)
    distances = torch.from_numpy(teacher.distances.astype(np.float32)).to(device)
    histories = padded(training_requests(data).history).to(device)
    generator = torch.Generator().manual_seed(seed)
    numbers = {"alpha": params.alpha, "beta": params.beta}

    def loss(model: SASRecModel, states: Tensor, target: Tensor, examples: Tensor) -> Tensor:
        logits = model.logits(states)
        negative = unseen_negatives(target, histories[examples], data.num_items, generator)
        own = dros_loss(logits, target, negative, weights, **numbers).mean()
        if not params.distillation:
            return own
        told = items[examples, 0] >= 0
        if not told.any():
            return own
        logits, negative, told = logits[told], negative[told], examples[told]
        top = logits.detach().topk(items.shape[1], dim=1).indices
        agreed = (items[told].unsqueeze(2) == top.unsqueeze(1)).any(2).to(logits)
        importance = teacher_weights(distances[told], agreed, params)
        taught = items[told].clamp_min(0)
        return own + params.distillation * distillation(
            logits, taught, importance, negative, weights, **numbers
        )

    return loss
