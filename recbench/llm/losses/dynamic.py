"""DynamicPO: DMPO on the negatives at the border of the policy, each with a strength of its own.

arXiv 2605.00327. B examples, K rejected responses of an example.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recbench.llm.losses.pairs import PairBatch


class Border(NamedTuple):
    """What is decided of each rejected response, without gradient."""

    chosen: Tensor  # [B, K] whether it enters the loss
    strength: Tensor  # [B, K] β_j / β


def dynamicpo(pairs: PairBatch, beta: float) -> Tensor:
    """-log σ(mean over the border of β_j (ρ^w - ρ^l_j)); the mean over B.

    An example without a rejected response adds 0 but counts.
    """
    border = find_border(pairs.pi_w, pairs.pi_l, pairs.mask)
    margins = beta * border.strength * (pairs.rho_w[:, None] - pairs.rho_l)
    count = border.chosen.sum(1)
    mean = margins.masked_fill(~border.chosen, 0.0).sum(1) / count.clamp_min(1)
    return (-F.logsigmoid(mean)).where(count > 0, 0.0).mean()


@torch.no_grad()
def find_border(pi_w: Tensor, pi_l: Tensor, mask: Tensor) -> Border:
    """The rejected responses at least as likely as the chosen one; where none is, the top of three clusters.

    The strength of one is 1 + ½ tanh((d1 - d2 - 2) / (|d1| + |d2|)), with d1 = log π(w) - log π(l) and d2 by
    how much l exceeds the mean of the rest, the responses outside the border; if there are none, of all.
    """
    above = (pi_l >= pi_w[:, None]) & mask
    chosen = torch.where(above.any(1, keepdim=True), above, top_cluster(pi_l, mask))
    rest = mask & ~chosen
    rest = torch.where(rest.any(1, keepdim=True), rest, chosen)
    mean = pi_l.masked_fill(~rest, 0.0).sum(1) / rest.sum(1).clamp_min(1)
    d1, d2 = pi_w[:, None] - pi_l, pi_l - mean[:, None]
    size = d1.abs() + d2.abs()
    lean = ((d1 - d2 - 2) / torch.where(size > 0, size, 1.0)).tanh().where(size > 0, 0.0)
    return Border(chosen, 1 + lean / 2)


def top_cluster(values: Tensor, known: Tensor) -> Tensor:
    """[B, K] the highest of three clusters of each row's `known` values: sorted and cut twice with the least
    squared error, the first of equal cuts. With fewer than three distinct values, the largest.
    """
    largest = known & (values == values.masked_fill(~known, -math.inf).amax(1, keepdim=True))
    if values.shape[1] < 3:
        return largest
    count = known.sum(1, keepdim=True)
    place = torch.arange(values.shape[1], device=values.device)
    inside = place < count
    order = values.double().masked_fill(~known, math.inf).sort(1).values.masked_fill(~inside, 0.0)
    distinct = 1 + ((order.diff(dim=1) > 0) & inside[:, 1:]).sum(1, keepdim=True)
    around = (order - order.sum(1, keepdim=True) / count.clamp_min(1)).masked_fill(~inside, 0.0)
    sums, squares = (F.pad(each.cumsum(1), (1, 0)) for each in (around, around.square()))

    def error(first: Tensor, end: Tensor) -> Tensor:
        """[B, P] squared error of the places from `first` to before `end`, [P] or [B, P]."""
        first, end = first.expand(len(values), -1), end.expand(len(values), -1)
        total = sums.gather(1, end) - sums.gather(1, first)
        return squares.gather(1, end) - squares.gather(1, first) - total**2 / (end - first).clamp_min(1)

    second, third = torch.combinations(place[1:]).T  # [P] where the two upper clusters start
    errors = error(torch.zeros_like(second), second) + error(second, third)
    errors = errors + error(third, count.expand(-1, len(third)))
    errors = errors.masked_fill(third >= count, math.inf)
    least = errors.amin(1, keepdim=True) + 1e-12 * squares[:, -1:]
    start = order.gather(1, third[(errors <= least).long().argmax(1)][:, None])
    return torch.where(distinct < 3, largest, known & (values.double() >= start))
