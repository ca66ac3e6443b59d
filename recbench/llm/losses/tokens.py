"""The losses over tokens, and the sums of tokens of a response.

N supervised token positions, V vocabulary, R responses. A token loss is a mean over the N positions. float32
and float64 work alike; results and gradients are finite for logits up to ±1e3.
"""

from __future__ import annotations

import torch
from torch import Tensor


def token_logp(z: Tensor, y: Tensor, *, logp: Tensor | None = None) -> Tensor:
    """[N] log-probability of `y` [N] under logits `z` [N, V]; `logp` is log-softmax of z if it is known."""
    logp = z.log_softmax(1) if logp is None else logp
    return logp.gather(1, y[:, None]).squeeze(1)


def token_ce(z: Tensor, y: Tensor, *, logp: Tensor | None = None) -> Tensor:
    """Cross-entropy, the mean over positions (ILRec's Eq. 1 divided by N)."""
    return -token_logp(z, y, logp=logp).mean()


def sequence_logp(logp: Tensor, response: Tensor, num_responses: int) -> Tensor:
    """[R] summed log-probability of each response, from its tokens' `logp` [N]; `response` [N] says whose.

    A response without a token has 0. Summed in float64, so that the order of the sum does not show.
    """
    total = logp.new_zeros(num_responses, dtype=torch.float64)
    return total.index_add(0, response, logp.double()).to(logp.dtype)
