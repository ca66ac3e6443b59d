"""Rewards, advantages and losses of groups of responses to one prompt (ReRe, arXiv 2510.12211; MiniOneRec,
arXiv 2510.24431).

P prompts, G responses of each, best first; R responses of a batch, N supervised positions of all of them.
float32 and float64 work alike. `found` [P, G] is False where a group has no response.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Penalty = Literal["places", "misses"]
"""What the penalties of a group are divided by: the discounts of all its places, or those of its misses."""
MeanOf = Literal["sequence", "token", "gspo"]
"""`sequence`: the mean over responses of each one's mean over tokens. `token`: the mean over all tokens.
`gspo`: as `sequence`, with one ratio for a response, that of the mean log-ratio of its tokens."""
FURTHEST = 20.0
"""Nats of a log-ratio beyond which it counts as this much and has no gradient, so that its exponential is
finite."""
EPS = 1e-4


def rank_penalty(hit: Tensor, penalty: Penalty = "places", found: Tensor | None = None) -> Tensor:
    """[P, G] -d_g / sum_j d_j for the misses of a group with a hit, else 0; d_g = 1 / log2(g + 2), g from 0.

    So a miss in a higher place loses more. Divided by the discounts of all places, as in the code, the
    penalties sum to the hits' share less 1; by those of the misses, as in MiniOneRec's paper, to -1.
    """
    known = torch.ones_like(hit) if found is None else found
    discount = 1 / torch.arange(2, hit.shape[1] + 2, device=hit.device, dtype=torch.float64).log2() * known
    miss = ~hit & known
    counted = discount if penalty == "places" else discount * miss
    total = counted.sum(1, keepdim=True).clamp_min(torch.finfo(discount.dtype).tiny)
    return -(discount / total) * (miss & hit.any(1, keepdim=True))


def beam_reward(hit: Tensor, penalty: Penalty = "places", found: Tensor | None = None) -> Tensor:
    """[P, G] ReRe's `ranking` reward: 1 for a hit, `rank_penalty` for a miss. A group without a hit has 0."""
    return hit + rank_penalty(hit, penalty, found)


def group_advantages(reward: Tensor, found: Tensor | None = None, eps: float = EPS) -> Tensor:
    """[P, G] rewards less their group's mean, divided by its sample standard deviation plus `eps`.

    All 0 in a group of equal rewards, and where there is no response. ValueError for groups of one, which
    have no deviation.
    """
    if reward.shape[1] < 2:
        raise ValueError("advantages compare the responses to one prompt, so each needs at least 2")
    known = torch.ones_like(reward, dtype=torch.bool) if found is None else found
    reward = reward.masked_fill(~known, 0.0)
    count = known.sum(1, keepdim=True)
    away = (reward - reward.sum(1, keepdim=True) / count.clamp_min(1)).masked_fill(~known, 0.0)
    # a mean in floating point can miss equal rewards by a rounding error, which eps would not hide
    equal = (reward == reward.masked_fill(~known, torch.inf).amin(1, keepdim=True)) | ~known
    away = away.masked_fill(equal.all(1, keepdim=True), 0.0)
    deviation = (away.square().sum(1, keepdim=True) / (count - 1).clamp_min(1)).sqrt()
    return away / (deviation + eps)


def window_weights(num: int, *, anchor: float, mass: float, tau: float = 1.0) -> Tensor:
    """[num] weights of negatives by rank 1..num, largest at `anchor`; their mean is 1 (TAWin, reconstructed).

    w_i = min(1, exp((-|i - anchor| - lambda) / tau)) with the one lambda at which they sum to `mass`, then
    scaled to sum to `num`. From a mass of `num` on all are 1.
    """
    if mass >= num:
        return torch.ones(num, dtype=torch.float64)
    x = -(torch.arange(1, num + 1, dtype=torch.float64) - anchor).abs()

    def weights(lam: float) -> Tensor:
        return ((x - lam) / tau).clamp_max(0).exp()

    low, high = float(x.min()), float(x.max()) + tau  # at `low` every weight is 1
    while weights(high).sum() > mass:
        high += high - low
    for _ in range(200):  # the sum falls in lambda; floats halve an interval far less often
        middle = (low + high) / 2
        low, high = (middle, high) if weights(middle).sum() > mass else (low, middle)
    found = weights((low + high) / 2)
    return found * num / found.sum()


def token_kl(logp: Tensor, reference: Tensor) -> Tensor:
    """[N] e^d - d - 1 of d = reference - logp: at least 0, and in the mean over samples of the policy
    KL(policy || reference)."""
    away = (reference.detach() - logp).clamp_max(FURTHEST)
    return away.expm1() - away


def group_loss(
    logp: Tensor,
    response: Tensor,
    advantage: Tensor,
    *,
    beta: float,
    reference: Tensor | None = None,
    old: Tensor | None = None,
    clip: float = 0.2,
    mean_of: MeanOf = "sequence",
    kept: Tensor | None = None,
) -> Tensor:
    """-(min(r A, clip(r) A) - beta KL), a mean as `mean_of` says; r = exp(logp - old) within 1 +- `clip`.

    `logp`, `reference` and `old` are [N], `response` [N] says whose a token is, `advantage` is [R]. Without
    `old` the policy is the one that made the responses: r is 1 and has the gradient of logp, so that the loss
    is that of signed weighted SFT. Without `reference`, or at a beta of 0, there is no KL. `kept` [R] leaves
    responses out of the mean.
    """
    num = len(advantage)
    length = torch.bincount(response, minlength=num).clamp_min(1).to(logp)
    away = (logp - (logp if old is None else old).detach()).clamp_max(FURTHEST)

    def of_response(values: Tensor) -> Tensor:
        return logp.new_zeros(num).index_add(0, response, values) / length

    def gain(away: Tensor, advantage: Tensor) -> Tensor:
        ratio = away.exp()
        if old is None:
            return ratio * advantage
        return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)

    advantage = advantage.to(logp)
    if mean_of == "gspo":
        each = -gain(of_response(away), advantage)
        token = torch.zeros_like(logp)
    else:
        each = torch.zeros_like(advantage, dtype=logp.dtype)
        token = -gain(away, advantage[response])
    if reference is not None and beta:
        token = token + beta * token_kl(logp, reference)
    weight = torch.ones_like(each) if kept is None else kept.to(each)
    if mean_of == "token":
        weight = weight[response]
        return (token * weight).sum() / weight.sum().clamp_min(1)
    return ((each + of_response(token)) * weight).sum() / weight.sum().clamp_min(1)
