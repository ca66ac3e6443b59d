"""The preference losses of the field's papers, one pure function an equation; trl's other ones: `pairs`.

B examples, K rejected responses of an example. A loss is a mean over the B examples. float32 and float64
work alike; results and gradients are finite for β ρ up to ±1e4.

`pi` and `ref` are log-probabilities of a response under the policy and under the frozen reference: natural
log, summed over the response's tokens with its end token, never divided by its length; `w` is the chosen
response, `l` a rejected one. ρ = pi - ref, in nats.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

RosePOForm = Literal["conservative", "robust"]
"""How RosePO smooths its labels: as cDPO, or divided by the share of right ones, as robust DPO."""


class PreferenceLoss(NamedTuple):
    """A loss over the B examples of a batch, and the log-ratios to the reference that it was made from."""

    loss: Tensor
    rho_w: Tensor  # [B] detached
    rho_l: Tensor  # [B] or [B, K] detached; 0 where there is no rejected response


def dpo(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> PreferenceLoss:
    """-log σ(β (ρ^w - ρ^l)) of pairs [B] (Rafailov et al. 2023, "Direct Preference Optimization", Eq. 7)."""
    rho_w, rho_l = _rho(pi_w, ref_w), _rho(pi_l, ref_l)
    loss = -F.logsigmoid(beta * (rho_w - rho_l))
    return PreferenceLoss(loss.mean(), rho_w.detach(), rho_l.detach())


def sdpo(
    pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, neg_mask: Tensor, beta: float
) -> PreferenceLoss:
    """log(1 + Σ_j exp β (ρ^l_j - ρ^w)), S-DPO (arXiv 2406.09215): softmax over the chosen and K rejected.

    pi_w and ref_w are [B], pi_l and ref_l [B, K]; `neg_mask` [B, K] is False where a rejected response is
    missing. An example without any adds 0 but counts in the mean.
    """
    rho_w, rho_l = _rho(pi_w, ref_w), _rho(pi_l, ref_l).masked_fill(~neg_mask, 0.0)
    margins = (beta * (rho_l - rho_w[:, None])).masked_fill(~neg_mask, -math.inf)
    # the padded 0 is the 1 of the formula, so that no row is -inf throughout
    loss = F.pad(margins, (1, 0)).logsumexp(1)
    return PreferenceLoss(loss.mean(), rho_w.detach(), rho_l.detach())


def dmpo(
    pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, neg_mask: Tensor, beta: float
) -> PreferenceLoss:
    """-log σ(β (ρ^w - mean_j ρ^l_j)), DMPO (arXiv 2405.16127); arguments as in `sdpo`."""
    rho_w, rho_l = _rho(pi_w, ref_w), _rho(pi_l, ref_l).masked_fill(~neg_mask, 0.0)
    count = neg_mask.sum(1)
    loss = -F.logsigmoid(beta * (rho_w - rho_l.sum(1) / count.clamp_min(1)))
    return PreferenceLoss(loss.where(count > 0, 0.0).mean(), rho_w.detach(), rho_l.detach())


def smoothed(h: Tensor, smoothing: Tensor, form: RosePOForm) -> Tensor:
    """DPO of margins h that are the wrong way round with probability ε = `smoothing`, 0 ≤ ε < 0.5; any shape.

    `conservative` is -(1-ε) log σ(h) - ε log σ(-h), cDPO's, least at h = log((1-ε)/ε); `robust` is
    (-(1-ε) log σ(h) + ε log σ(-h)) / (1-2ε) (arXiv 2403.00409), unbiased under flips and unbounded below.
    `smoothing` has no gradient.
    """
    smoothing = smoothing.detach()
    match form:
        case "conservative":
            slope = smoothing
        case "robust":
            slope = -smoothing / (1 - 2 * smoothing)
        case _:
            assert_never(form)
    # log σ(-h) = log σ(h) - h: what ε adds to DPO is linear in h
    return slope * h - F.logsigmoid(h)


@torch.no_grad()
def oracle_smoothing(s_w: Tensor, s_l: Tensor, temperature: float, limit: float = 0.49) -> Tensor:
    """ε = σ((s_l - s_w) / temperature): how surely a recommender prefers the rejected item.

    `s_w` and `s_l` are its scores of the two items, any shape. Cut off at `limit`, because from 0.5 on the
    preference would be reversed.
    """
    if temperature <= 0 or not 0 <= limit < 0.5:
        raise ValueError("the temperature must be above 0 and the limit at least 0 and below 0.5")
    return ((s_l - s_w) / temperature).sigmoid().clamp_max(limit)


@torch.no_grad()
def preference_diagnostics(
    pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, neg_mask: Tensor
) -> dict[str, Tensor]:
    """Where policy and reference stand on a batch, as scalars; arguments as in `sdpo`, all in nats.

    `chosen_logp`, `rejected_logp`: mean pi. `margin`: mean ρ^w - ρ^l over the pairs. `accuracy`: share of
    examples whose ρ^w exceeds all its ρ^l (a tie is not enough). `displacement`: mean ρ^w; below 0 the
    chosen responses have become less likely. Averages over no pair at all are 0.

    `kl` estimates KL(reference ‖ policy) as the mean of e^ρ - 1 - ρ over chosen and rejected responses,
    never negative, and unbiased if they were drawn from the reference; the plain mean of -ρ could turn
    negative, and the estimator for draws from the policy takes e^-ρ of rejected responses, which overflows
    as soon as they are pushed away. ρ counts as at most 50.
    """
    rho_w, rho_l = _rho(pi_w, ref_w), _rho(pi_l, ref_l)
    pairs, paired = neg_mask.sum(), neg_mask.any(1)
    won = (rho_w[:, None] > rho_l).logical_or(~neg_mask).all(1) & paired

    def over_pairs(values: Tensor) -> Tensor:
        return values.masked_fill(~neg_mask, 0.0).sum() / pairs.clamp_min(1)

    diverged = _divergence(rho_w).sum() + _divergence(rho_l).masked_fill(~neg_mask, 0.0).sum()
    return {
        "chosen_logp": pi_w.mean(),
        "rejected_logp": over_pairs(pi_l),
        "margin": over_pairs(rho_w[:, None] - rho_l),
        "accuracy": won.sum() / paired.sum().clamp_min(1),
        "displacement": rho_w.mean(),
        "kl": diverged / (len(rho_w) + pairs),
    }


def _rho(pi: Tensor, ref: Tensor) -> Tensor:
    return pi - ref.detach()


def _divergence(rho: Tensor) -> Tensor:
    return rho.clamp_max(50).expm1() - rho.clamp_max(50)
