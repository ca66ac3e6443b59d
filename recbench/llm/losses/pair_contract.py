"""What a pair loss must be: a scalar, the mean over the examples of its batch.

B examples, K rejected responses of an example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from recbench.errors import UsageError
from recbench.llm.losses.pairs import PairBatch

NUM_EXAMPLES = 4
REJECTED = (1, 3)
"""Rejected responses of an example, one batch for each."""


def scalar_loss(value: object) -> Tensor:
    """`value` itself. UsageError says what it is where it is no scalar tensor that depends on the policy."""
    if not isinstance(value, Tensor):
        why = f"it returns a {type(value).__name__}, which has no gradient"
    elif value.ndim:
        why = f"it returns a tensor of shape {tuple(value.shape)}"
    elif torch.is_grad_enabled() and not value.requires_grad:
        why = "it returns a tensor without a gradient"
    else:
        return value
    raise UsageError(
        "the pair loss is no scalar that training can lower",
        why=why,
        fix="return the mean over the B examples, computed from the batch's tensors: losses.mean()",
    )


def at_once_and_alone(
    loss: Callable[[PairBatch], Tensor], *, reference: bool
) -> list[tuple[int, float, float]]:
    """K, the loss of a drawn batch, and the mean of the losses of its examples by themselves, for each of
    `REJECTED`. Both agree where the loss is a mean over examples. UsageError where it is no scalar.
    """
    found = []
    for count in REJECTED:
        batch = _drawn(count, reference=reference)
        whole = scalar_loss(loss(batch))
        each = [scalar_loss(loss(_alone(batch, at))) for at in range(NUM_EXAMPLES)]
        found.append((count, whole.item(), sum(one.item() for one in each) / NUM_EXAMPLES))
    return found


def _drawn(count: int, *, reference: bool) -> PairBatch:
    """Log-probabilities between -6 and 0; the last example has one rejected response alone."""
    generator = torch.Generator().manual_seed(count)
    pi, ref = -6 * torch.rand(2, NUM_EXAMPLES, 1 + count, generator=generator, dtype=torch.float64)
    mask = torch.ones(NUM_EXAMPLES, count, dtype=torch.bool)
    mask[-1, 1:] = False
    pi[:, 1:] *= mask
    ref[:, 1:] *= mask
    pi.requires_grad_()
    length = torch.full((NUM_EXAMPLES, 1 + count), 4.0, dtype=torch.float64)
    rejected = torch.arange(NUM_EXAMPLES * count).reshape(NUM_EXAMPLES, count)
    return PairBatch(
        pi_w=pi[:, 0],
        pi_l=pi[:, 1:],
        mask=mask,
        len_w=length[:, 0],
        len_l=length[:, 1:] * mask,
        example=torch.arange(NUM_EXAMPLES),
        rejected=rejected.masked_fill(~mask, -1),
        reference=(ref[:, 0], ref[:, 1:]) if reference else None,
        unrelated=pi.new_tensor(0.5),
    )


def _alone(batch: PairBatch, at: int) -> PairBatch:
    one = slice(at, at + 1)
    return replace(
        batch,
        pi_w=batch.pi_w[one],
        pi_l=batch.pi_l[one],
        mask=batch.mask[one],
        len_w=batch.len_w[one],
        len_l=batch.len_l[one],
        example=batch.example[one],
        rejected=batch.rejected[one],
        reference=None if batch.reference is None else (batch.reference[0][one], batch.reference[1][one]),
    )
