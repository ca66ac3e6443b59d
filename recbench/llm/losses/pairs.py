"""Losses over pairs of a chosen and rejected responses that the field's papers do not have, and their batch.

B examples, K rejected responses of an example. A loss is a mean over the B examples. float32 and float64 work
alike; results and gradients are finite for β ρ up to ±1e4.

With one rejected response each loss is trl's of the same name (version 1.16). How it takes several is a
reading: a loss of the form softplus(a) takes them by `reduce`, `softmax` as S-DPO does, softplus(logsumexp_j
a_j), or `pairs`, the mean of softplus(a_j); every other loss is the mean over the example's pairs. An example
without any adds 0 but counts in the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from recbench.errors import UsageError
from recbench.llm.losses.preference import RosePOForm, smoothed

Reduce = Literal["softmax", "pairs"]
"""How a loss of the form softplus(a) takes several rejected responses."""
SURE = -1e-6
"""The highest mean log-probability whose odds are finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch:
    """Summed log-probabilities of a batch of responses, under the policy and, where there is one, under its
    reference.

    Entries of missing rejected responses are 0.
    """

    pi_w: Tensor  # [B] chosen
    pi_l: Tensor  # [B, K] rejected
    mask: Tensor  # [B, K] False where an example has fewer rejected responses
    len_w: Tensor  # [B] tokens, end token included
    len_l: Tensor  # [B, K]
    example: Tensor  # [B] index of the example
    rejected: Tensor  # [B, K] items, -1 where there is none
    reference: tuple[Tensor, Tensor] | None = None
    """Those of the chosen [B] and of the rejected responses [B, K] under the reference; None where the method
    says that its loss needs none."""
    unrelated: Tensor | None = None
    """Mean ρ of chosen responses that belong to other prompts, over all processes; for KTO."""

    @property
    def ref_w(self) -> Tensor:
        """[B] the chosen response under the reference. UsageError where the class says that it needs none."""
        return self._reference()[0]

    @property
    def ref_l(self) -> Tensor:
        """[B, K] the rejected responses under the reference. UsageError as in `ref_w`."""
        return self._reference()[1]

    @property
    def rho_w(self) -> Tensor:
        """[B] log-ratio of the chosen response to its reference, ρ = log π - log π_ref in nats."""
        return self.pi_w - self.ref_w.detach()

    @property
    def rho_l(self) -> Tensor:
        """[B, K] log-ratios of the rejected responses, 0 where there is none."""
        return (self.pi_l - self.ref_l.detach()).masked_fill(~self.mask, 0.0)

    def _reference(self) -> tuple[Tensor, Tensor]:
        if self.reference is None:
            raise UsageError(
                "the loss reads a reference, and none was computed",
                why="the method's class says needs_reference = False",
                fix="remove needs_reference from the class",
            )
        return self.reference


def dpo_pairs(pairs: PairBatch, beta: float) -> Tensor:
    """-log σ(β (ρ^w - ρ^l)), DPO, the mean over an example's pairs; S-DPO is its softmax."""
    return combined(beta * (pairs.rho_l - pairs.rho_w[:, None]), pairs.mask, "pairs")


def dpo_norm(pairs: PairBatch, beta: float, reduce: Reduce = "softmax") -> Tensor:
    """DPO of log-ratios per token, -log σ(β (ρ^w/|y^w| - ρ^l/|y^l|)); trl's `sigmoid_norm`."""
    rho_w, rho_l = _per_token(pairs, pairs.rho_w, pairs.rho_l)
    return combined(beta * (rho_l - rho_w[:, None]), pairs.mask, reduce)


def simpo(pairs: PairBatch, beta: float, gamma: float, reduce: Reduce = "softmax") -> Tensor:
    """-log σ(β (l̄^w - l̄^l) - γ) of mean log-probabilities of tokens, SimPO (arXiv 2405.14734).

    No reference. trl's `simpo` with `cpo_alpha=0`.
    """
    mean_w, mean_l = _per_token(pairs, pairs.pi_w, pairs.pi_l)
    return combined(beta * (mean_l - mean_w[:, None]) + gamma, pairs.mask, reduce)


def cpo(pairs: PairBatch, beta: float, reduce: Reduce = "softmax") -> Tensor:
    """-log σ(β (log π(y^w) - log π(y^l))), CPO without its cross-entropy (arXiv 2401.08417).

    No reference.
    """
    return combined(beta * (pairs.pi_l - pairs.pi_w[:, None]), pairs.mask, reduce)


def orpo(pairs: PairBatch, reduce: Reduce = "softmax") -> Tensor:
    """-log σ(o(l̄^w) - o(l̄^l)) of log-odds per token, ORPO (arXiv 2403.07691, Eq. 7).

    Without its cross-entropy, and without a reference.
    """
    mean_w, mean_l = _per_token(pairs, pairs.pi_w, pairs.pi_l)
    return combined(log_odds(mean_l) - log_odds(mean_w)[:, None], pairs.mask, reduce)


def log_odds(mean_logp: Tensor) -> Tensor:
    """u - log(1 - e^u) of mean log-probabilities u, counted as at most `SURE`, where it is infinite."""
    u = mean_logp.clamp_max(SURE)
    return u - log1mexp(u)


def log1mexp(u: Tensor) -> Tensor:
    """log(1 - e^u) for u < 0, without cancellation near 0 and far below it."""
    near = u > -math.log(2)
    inside = torch.where(near, u, -1.0)  # the branch that is not taken must not give an infinite gradient
    outside = torch.where(near, -1.0, u)
    return torch.where(near, (-inside.expm1()).log(), (-outside.exp()).log1p())


def ipo(pairs: PairBatch, beta: float, *, per_token: bool = True) -> Tensor:
    """(ρ^w - ρ^l - 1/(2β))², IPO (arXiv 2310.12036, Eq. 17).

    `per_token` divides ρ by the response's tokens, as trl does; the paper's ρ is a sum.
    """
    rho_w, rho_l = pairs.rho_w, pairs.rho_l
    if per_token:
        rho_w, rho_l = _per_token(pairs, rho_w, rho_l)
    return over_pairs((rho_w[:, None] - rho_l - 1 / (2 * beta)).square(), pairs.mask)


def smoothed_dpo(pairs: PairBatch, beta: float, epsilon: float | Tensor, form: RosePOForm) -> Tensor:
    """DPO that takes a pair to be the wrong way round with probability ε, a number or [B, K].

    `conservative` is cDPO, label smoothing; `robust` is arXiv 2403.00409; see `preference.smoothed`. With an
    ε for each pair it is a reconstruction of RosePO (arXiv 2410.12519), whose formula could not be checked.
    """
    h = beta * (pairs.rho_w[:, None] - pairs.rho_l)
    return over_pairs(smoothed(h, torch.as_tensor(epsilon).to(h), form), pairs.mask)


def apo_zero(pairs: PairBatch, beta: float) -> Tensor:
    """1 - σ(β ρ^w) + σ(β ρ^l), APO-zero (arXiv 2408.06266, Eq. 7)."""
    return over_pairs((-beta * pairs.rho_w).sigmoid()[:, None] + (beta * pairs.rho_l).sigmoid(), pairs.mask)


def sppo_hard(pairs: PairBatch, beta: float) -> Tensor:
    """(ρ^w - 1/(2β))² + (ρ^l + 1/(2β))², SPPO with hard preferences (arXiv 2405.00675, Eq. 4.7)."""
    half = 1 / (2 * beta)
    return over_pairs((pairs.rho_w - half).square()[:, None] + (pairs.rho_l + half).square(), pairs.mask)


def kto(pairs: PairBatch, beta: float, *, lambda_w: float = 1.0, lambda_l: float = 1.0) -> Tensor:
    """½ [λ_w (1 - σ(β (ρ^w - z₀))) + λ_l (1 - σ(β (z₀ - ρ^l)))], KTO (arXiv 2402.01306).

    z₀ = max(0, `pairs.unrelated`), without gradient. The half is trl's mean over as many rejected responses
    as chosen ones.
    """
    if pairs.unrelated is None:
        raise UsageError("KTO needs responses of other prompts, and the batch has none")
    z = pairs.unrelated.detach().clamp_min(0.0)
    w = lambda_w * (beta * (z - pairs.rho_w)).sigmoid()
    rejected = lambda_l * (beta * (pairs.rho_l - z)).sigmoid()
    return over_pairs(w[:, None] + rejected, pairs.mask) / 2


def combined(a: Tensor, mask: Tensor, reduce: Reduce) -> Tensor:
    """The mean over B of softplus(logsumexp_j a_j), or of the mean_j of softplus(a_j); `a` is [B, K]."""
    if reduce == "pairs":
        return over_pairs(-F.logsigmoid(-a), mask)
    # the padded 0 is the 1 in log(1 + Σ e^a), so that no row is -inf throughout
    return F.pad(a.masked_fill(~mask, -math.inf), (1, 0)).logsumexp(1).mean()


def over_pairs(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over B of the mean of an example's `values` [B, K], 0 for an example without any."""
    total = values.masked_fill(~mask, 0.0).sum(1)
    return (total / mask.sum(1).clamp_min(1)).mean()


def _per_token(pairs: PairBatch, of_chosen: Tensor, of_rejected: Tensor) -> tuple[Tensor, Tensor]:
    return of_chosen / pairs.len_w.clamp_min(1), of_rejected / pairs.len_l.clamp_min(1)
