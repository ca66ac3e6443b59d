"""Batches of log-probabilities for the tests of losses over whole responses."""

from __future__ import annotations

import torch
from torch import Tensor

DOUBLE = torch.float64

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def tensor(*values: object, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def everything(pi_l: Tensor) -> Tensor:
    return torch.ones_like(pi_l, dtype=torch.bool)


def random_batch(seed: int, *, b: int = 4, k: int = 3, spread: float = 3.0) -> Batch:
    """pi_w, pi_l, ref_w, ref_l with log-ratios of about `spread` nats."""
    generator = torch.Generator().manual_seed(seed)
    ref_w, ref_l = (
        -10 * torch.rand(b, generator=generator, dtype=DOUBLE),
        -12 * torch.ones(b, k, dtype=DOUBLE),
    )
    pi_w = ref_w + spread * torch.randn(b, generator=generator, dtype=DOUBLE)
    pi_l = ref_l + spread * torch.randn(b, k, generator=generator, dtype=DOUBLE)
    return pi_w, pi_l, ref_w, ref_l
