"""Losses over the tokens that continue an identifier (MSL, BEAR), and weighted losses over tokens (IGD, CFT).

N supervised token positions, V vocabulary, C most children of a trie node, R responses. float32 and float64
work alike; results and gradients are finite for logits up to ±1e3.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

TAU_LEAST, TAU_MOST, TAU_START = 1.5, 5.0, 1.5
"""Bounds of an adaptive temperature, and where it starts (MSL's code)."""


def child_ce(child_logits: Tensor, target_logit: Tensor, tau: float = 1.0) -> Tensor:
    """[N] -log softmax of the target among a node's children, MSL's loss (arXiv 2504.04178).

    `child_logits` [N, C] are -inf where a node has fewer children, the target's logit [N] is among them.
    Exactly 0, and without gradient, where there is one child.
    """
    return (child_logits / tau).logsumexp(1) - target_logit / tau


def bear_weights(
    child_logits: Tensor, target_logit: Tensor, *, strength: float, scale: float, width: int
) -> Tensor:
    """[N] 1 + λ σ((log p_y - log q) / ξ), BEAR's weights, without gradient.

    p is the softmax over children, q the `width`-th largest p, the smallest where a node has fewer children.
    """
    logp = child_logits.detach().log_softmax(1)
    count = (child_logits > -math.inf).sum(1)
    place = count.clamp_max(width) - 1
    q = logp.sort(1, descending=True).values.gather(1, place[:, None])[:, 0]
    of_target = target_logit.detach() - child_logits.detach().logsumexp(1)
    return 1 + strength * ((of_target - q) / scale).sigmoid()


class FirstTokens(NamedTuple):
    """Sums over the first tokens of responses, of one or more batches, in float64."""

    rows: float
    target: float  # Σ of the targets' logits
    valid: float  # number of valid logits
    total: float  # their Σ
    square: float  # and Σ of squares

    def plus(self, other: FirstTokens) -> FirstTokens:
        return FirstTokens(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


NOTHING = FirstTokens(0.0, 0.0, 0.0, 0.0, 0.0)


@torch.no_grad()
def first_tokens(child_logits: Tensor, target_logit: Tensor) -> FirstTokens:
    """The sums of these positions, which are the first of their responses."""
    valid = child_logits[child_logits > -math.inf].double()
    return FirstTokens(
        float(len(child_logits)),
        float(target_logit.double().sum()),
        float(len(valid)),
        float(valid.sum()),
        float(valid.square().sum()),
    )


def adaptive_tau(seen: FirstTokens, *, eta: float = 0.25) -> float:
    """The temperature at which the mean first target has the probability η, within `TAU_LEAST`..`TAU_MOST`.

    With valid logits of mean μ and variance σ² and m valid tokens, -log P = log m + σ²/(2τ²) - Δ/τ, Δ the
    mean target logit less μ; solved for τ with the plus sign before the root (MSL's code; its Eq. 11 prints a
    minus, which gives 0 for σ = 0). At m η ≤ 1 no temperature is high enough: `TAU_MOST`.
    """
    mean = seen.total / seen.valid
    variance = max(0.0, (seen.square - seen.valid * mean**2) / max(1.0, seen.valid - 1))
    delta = seen.target / seen.rows - mean
    c = math.log(seen.valid / seen.rows * eta)
    if c <= 0:
        return TAU_MOST
    tau = raw_tau(delta, variance, c)
    return min(max(tau, TAU_LEAST), TAU_MOST)


def raw_tau(delta: float, variance: float, c: float) -> float:
    """(Δ + √max(Δ² - 2 C σ², 0)) / (2 C)."""
    return (delta + math.sqrt(max(delta**2 - 2 * c * variance, 0.0))) / (2 * c)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ w v / Σ w, 0 where all weights are 0."""
    total = weight.sum()
    mean: Tensor = (values * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))
    return mean


def position_weights(step: Tensor, length: Tensor, beta: float) -> Tensor:
    """[N] 1 - (t - 1)(1 - β)/(T - 1): from 1 at the first token (`step` 0) to β at the last of `length`, CFT.

    1 for a response of one token.
    """
    share = step / (length - 1).clamp_min(1)
    return 1 - share * (1 - beta)
