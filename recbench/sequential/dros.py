"""DROS: its loss, and the small SASRec it trains.

Yang et al. 2023, "A Generic Learning Framework for Sequential Recommendation with Distribution Shifts"; the
network and the loss are those of the published code (YangZhengyi98/DROS, SASRec_bce.py).

n training positions of a batch, d width, I items.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbench.data import TrainingData
from recbench.sequential.params import DROSParams, SASRecParams
from recbench.sequential.sasrec import PositionLoss, SASRecModel


class DROSBlock(nn.Module):
    """Attention of normalised queries to keys and values as they come, then a feed-forward layer with ReLU.

    The queries are the attention's residual and the feed-forward layer's input is normalised, so that the
    states as they come reach the rest of the model through the values alone. No layer projects what the
    attention mixes.
    """

    def __init__(self, params: SASRecParams) -> None:
        super().__init__()
        self.heads, self.dropout = params.heads, params.dropout
        self.query_norm, self.input_norm, self.norm = (nn.LayerNorm(params.dim) for _ in range(3))
        self.query, self.key, self.value = (nn.Linear(params.dim, params.dim) for _ in range(3))
        self.up = nn.Linear(params.dim, params.inner)
        self.down = nn.Linear(params.inner, params.dim)

    def forward(self, x: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        normalised = self.query_norm(x)
        q, k, v = (
            layer(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, states in ((self.query, normalised), (self.key, x), (self.value, x))
        )
        scale = x.shape[-1] ** -0.5  # of the whole width, whatever the number of heads
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scale)
        y = self.input_norm(mixed.transpose(1, 2).flatten(2) + normalised)
        z: Tensor = self.norm(y + F.dropout(self.down(F.relu(self.up(y))), dropout))
        return z


class DROSModel(SASRecModel):
    """The SASRec of the published code: its own block, a norm at the end, and an output layer for the scores.

    Items start at N(0, 0.01^2), positions at N(0, 1), and linear layers as torch starts them.
    """

    def __init__(self, params: SASRecParams, *, num_items: int, history: int) -> None:
        super().__init__(params, num_items=num_items, history=history)
        self.blocks = nn.ModuleList(DROSBlock(params) for _ in range(params.layers))
        self.norm = nn.LayerNorm(params.dim)
        self.output = nn.Linear(params.dim, num_items)
        nn.init.normal_(self.item.weight, std=0.01)
        nn.init.normal_(self.position.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """States [B, N, d] after each item of `inputs` [B, N]."""
        x = self.embed(inputs) + self.position.weight[: inputs.shape[1]]
        x = F.dropout(x, self.params.dropout, training=self.training)
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states

    def logits(self, states: Tensor) -> Tensor:
        scores: Tensor = self.output(states)
        return scores


def item_weights(target_counts: Tensor) -> Tensor:
    """[I] ((n + 1) / sum(n + 1)) ^ 0.05, n the number of times an item is a training target; nearly flat."""
    smoothed = target_counts + 1
    return (smoothed / smoothed.sum()) ** 0.05


def target_counts(data: TrainingData) -> Tensor:
    """[I] times that each item is a training target: at every position of a sequence but its first."""
    counts = torch.bincount(torch.from_numpy(data.sequences.values), minlength=data.num_items)
    first = torch.from_numpy(data.sequences.values[data.sequences.offsets[:-1][data.sequences.lengths > 0]])
    return counts - torch.bincount(first, minlength=data.num_items)


def bce(logits: Tensor, target: Tensor, negative: Tensor) -> Tensor:
    """[n] binary cross-entropy of the target and one negative, the mean of the two terms."""
    rows = torch.arange(len(logits), device=logits.device)
    return (F.softplus(-logits[rows, target]) + F.softplus(logits[rows, negative])) / 2


def robust(logits: Tensor, target: Tensor, weights: Tensor, *, beta: float) -> Tensor:
    """[n] log sum_j exp(w_j (s_j - [j = target])^2 / beta): a soft maximum of the squared errors.

    Computed by logsumexp; the published code takes exp of the squares and overflows on large logits.
    """
    error = logits - F.one_hot(target, logits.shape[1]).to(logits)
    return torch.logsumexp(weights * error**2 / beta, 1)


def dros_loss(
    logits: Tensor, target: Tensor, negative: Tensor, weights: Tensor, *, alpha: float, beta: float
) -> Tensor:
    """[n] BCE + alpha times the robust term."""
    return bce(logits, target, negative) + alpha * robust(logits, target, weights, beta=beta)


def draw_negatives(target: Tensor, num_items: int, generator: torch.Generator) -> Tensor:
    """[n] one uniform item other than the target; drawn on the CPU, so that every device draws the same."""
    drawn = torch.randint(num_items - 1, target.shape, generator=generator).to(target.device)
    return drawn + (drawn >= target)


def dros_objective(data: TrainingData, params: DROSParams, *, seed: int, device: str) -> PositionLoss:
    """DROS's mean loss over a batch of training positions, for `train_sasrec`."""
    weights = item_weights(target_counts(data)).to(device)
    generator = torch.Generator().manual_seed(seed)

    def loss(model: SASRecModel, states: Tensor, target: Tensor, _examples: Tensor) -> Tensor:
        negative = draw_negatives(target, data.num_items, generator)
        logits = model.logits(states)
        return dros_loss(logits, target, negative, weights, alpha=params.alpha, beta=params.beta).mean()

    return loss
