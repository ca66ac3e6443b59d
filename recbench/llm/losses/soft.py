"""SOFT's distance, and the schedule of the weight of self-distilled data (arXiv 2505.20771)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class SoftTau(NamedTuple):
    tau: float
    """Within [0, 1]."""
    raw: float
    """As the equation has it, above 1 where the distance has grown; for the log."""


def soft_tau(d_t: float, d_0: float, alpha: float) -> SoftTau:
    """τ = exp(α (d_t / d_0 - 1)), SOFT's weight of self-distilled data (arXiv 2505.20771, section 3.2).

    `d_t` and `d_0` are `soft_distance` now and before the first epoch. Raises ValueError where d_0 is not
    above 0: a model that already gives every target leaves nothing to schedule.
    """
    if not d_0 > 0 or not d_t >= 0:
        raise ValueError(f"distances must be d_0 > 0 and d_t >= 0, not d_0 = {d_0} and d_t = {d_t}")
    exponent = alpha * (d_t / d_0 - 1)
    raw = math.exp(exponent) if exponent < 700 else math.inf  # math.exp raises beyond float64
    return SoftTau(min(raw, 1.0), raw)


def soft_distance(outputs: Tensor, targets: Tensor) -> Tensor:
    """d_t: mean L2 distance between the vectors [M, D] of what a model gives and of what it should give."""
    distance: Tensor = torch.linalg.vector_norm(outputs - targets, dim=1)
    return distance.mean()
