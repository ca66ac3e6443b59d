"""Batches of log-probabilities for the tests of losses over whole responses."""

from __future__ import annotations

import torch
from torch import Tensor

from recbench.llm.losses.pairs import PairBatch, smoothed_dpo
from recbench.llm.losses.preference import RosePOForm

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


def batch_of(
    pi_w: Tensor,
    pi_l: Tensor,
    ref_w: Tensor,
    ref_l: Tensor,
    *,
    len_w: Tensor | None = None,
    len_l: Tensor | None = None,
    mask: Tensor | None = None,
    unrelated: Tensor | None = None,
) -> PairBatch:
    return PairBatch(
        pi_w=pi_w,
        pi_l=pi_l,
        mask=torch.ones_like(pi_l, dtype=torch.bool) if mask is None else mask,
        len_w=torch.full_like(pi_w, 4) if len_w is None else len_w,
        len_l=torch.full_like(pi_l, 4) if len_l is None else len_l,
        example=torch.arange(len(pi_w)),
        rejected=torch.zeros_like(pi_l, dtype=torch.int64),
        reference=(ref_w, ref_l),
        unrelated=unrelated,
    )


def rosepo(
    pi_w: Tensor,
    pi_l: Tensor,
    ref_w: Tensor,
    ref_l: Tensor,
    beta: float,
    smoothing: Tensor,
    form: RosePOForm = "conservative",
) -> Tensor:
    """RosePO's loss of pairs [B], each with its smoothing."""
    pairs = batch_of(pi_w, pi_l[:, None], ref_w, ref_l[:, None])
    return smoothed_dpo(pairs, beta, smoothing[:, None], form)
