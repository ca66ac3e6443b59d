"""Rewards and advantages for methods that learn from their own beams: ReRe (arXiv 2510.12211), MiniOneRec.

B prompts, G beams of each.
"""

from __future__ import annotations

import torch
from torch import Tensor


def beam_reward(hit: Tensor) -> Tensor:
    """[B, G] reward of beams in their order, from whether each is the target (`hit` [B, G] bool).

    With d_i = 1 / log2(i + 2) of beam i (from 0), in a group with a hit: 1 for the hit and -d_i / sum_j d_j
    for every other beam, so that higher beams lose more. In a group without a hit: 0 for all.
    """
    discount = 1 / torch.arange(2, hit.shape[1] + 2, device=hit.device).log2()
    return hit.float() - discount / discount.sum() * (~hit & hit.any(1, keepdim=True))


def group_advantages(reward: Tensor, eps: float = 1e-4) -> Tensor:
    """[B, G] rewards less their group's mean, divided by its sample standard deviation plus `eps`.

    All 0 in a group of equal rewards. Raises ValueError for groups of one, which have no deviation.
    """
    if reward.shape[1] < 2:
        raise ValueError("advantages compare beams of one prompt, so each needs at least 2")
    deviation, mean = torch.std_mean(reward, dim=1, keepdim=True)
    return (reward - mean) / (deviation + eps)
