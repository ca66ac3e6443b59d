"""DynamicPO: DMPO on the negatives at the border of the policy, each with a strength of its own.

arXiv 2605.00327. B examples, K rejected responses of an example.
"""

from __future__ import annotations

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
    top = torch.stack([top_cluster(row, known) for row, known in zip(pi_l, mask, strict=True)])
    chosen = torch.where(above.any(1, keepdim=True), above, top)
    rest = mask & ~chosen
    rest = torch.where(rest.any(1, keepdim=True), rest, chosen)
    mean = pi_l.masked_fill(~rest, 0.0).sum(1) / rest.sum(1).clamp_min(1)
    d1, d2 = pi_w[:, None] - pi_l, pi_l - mean[:, None]
    size = d1.abs() + d2.abs()
    lean = ((d1 - d2 - 2) / torch.where(size > 0, size, 1.0)).tanh().where(size > 0, 0.0)
    return Border(chosen, 1 + lean / 2)


def top_cluster(values: Tensor, known: Tensor) -> Tensor:
    """[K] the highest of three clusters of the `known` values: sorted and cut twice with the least squared
    error, the first of equal cuts. With fewer than three distinct values, the largest.
    """
    found = torch.zeros_like(known)
    if not known.any():
        return found
    kept = values[known]
    order = kept.double().sort().values
    if len(torch.unique(order)) < 3:
        return known & (values == kept.max())
    best, start = float("inf"), len(order) - 1
    for first in range(1, len(order) - 1):
        for second in range(first + 1, len(order)):
            error = sum(
                float((part - part.mean()).square().sum())
                for part in (order[:first], order[first:second], order[second:])
            )
            if error < best - 1e-12:
                best, start = error, second
    return known & (values.double() >= order[start])
