"""ILRec's losses and the reward they share, one pure function an equation.

N supervised token positions, V vocabulary, k intermediate layers, B examples, I items, C the most children
that one of the asked trie nodes has. Every loss is a mean over the N positions. float32 and float64 work
alike; results and gradients are finite for logits up to ±1e3.

"Intermediate Layers Can Be Self-Hard Negative Generator For Large Language Model Based Recommendation"
(arXiv 2602.17410); equation numbers are that paper's. P^L is the final layer's logits `z`, P^l an
intermediate layer's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from recbench.llm.items.trie import TrieTables
from recbench.llm.losses.tokens import token_ce

WeightSource = Literal["logit", "prob"]
CPOForm = Literal["mult", "mult_pos", "abs", "add", "rel_min"]
CPDDirection = Literal["student_teacher", "teacher_student"]
CRRSpace = Literal["literal", "trie"]


def ilrec_ensemble(layer_logits: Sequence[Tensor]) -> Tensor:
    """P̂ [N, V], the mean of the k layers' logits (Eq. 3, read as k terms divided by k)."""
    if not layer_logits:
        raise ValueError("the ensemble of intermediate layers needs at least one layer")
    total = layer_logits[0]
    for logits in layer_logits[1:]:
        total = total + logits
    return total / len(layer_logits)


def ilrec_negatives(ensemble: Tensor, y: Tensor, alpha: float) -> Tensor:
    """V_N [N, V] bool (Eq. 4-5): tokens other than y with p̂(v) ≥ α p̂(y), decided as P̂(v) ≥ P̂(y) + ln α."""
    ensemble, target = ensemble.detach(), y[:, None]
    return (ensemble >= ensemble.gather(1, target) + math.log(alpha)).scatter_(1, target, False)


def ilrec_weights(ensemble: Tensor, mask: Tensor, source: WeightSource = "logit") -> Tensor:
    """w [N, V] (Eq. 6): a softmax over V_N, 0 outside it, and 0 throughout where V_N is empty.

    `logit` takes the softmax of P̂, which is p̂ renormalised over V_N; `prob` reads the equation literally
    and takes it of p̂ itself, which makes w almost uniform. `mask` is V_N of the same ensemble, so that its
    share of p̂ is never tiny: the likeliest token is y or one of V_N unless V_N is empty. Gradients flow
    where `ensemble` carries them.
    """
    p = ensemble.softmax(1)
    kept = (p if source == "logit" else p.exp()) * mask
    norm = kept.sum(1, keepdim=True)
    return kept / (norm + (norm == 0))


def ilrec_cpo(z: Tensor, y: Tensor, w: Tensor, beta: float, form: CPOForm = "mult") -> Tensor:
    """L_CPO = logsumexp_v s_v - P^L(y) (Eq. 7), where s raises each negative by a margin; w must be 0 at y.

    `mult` is the paper's s = P^L (1 + β w). It penalises a negative with a negative logit *less* than
    cross-entropy does; the other forms fix that: `mult_pos` margin β w max(P^L, 0), `abs` β w |P^L|,
    `add` β w nats (indifferent to a shift of all logits), `rel_min` β w (P^L - sg(min P^L)) (never where
    logits are masked).
    """
    match form:
        case "mult":
            margin = z
        case "mult_pos":
            margin = z.relu()
        case "abs":
            margin = z.abs()
        case "add":
            margin = torch.ones_like(z[:, :1])
        case "rel_min":
            margin = z - z.detach().amin(1, keepdim=True)
        case _:
            assert_never(form)
    # w is 0 at y, hence s = P^L there, and the loss is cross-entropy of s
    return token_ce(torch.addcmul(z, w, margin, value=beta), y)


def ilrec_cpd(
    layer_logits: Sequence[Tensor],
    z: Tensor,
    direction: CPDDirection = "student_teacher",
    *,
    logp: Tensor | None = None,
) -> Tensor:
    """L_CPD (Eq. 8): KL between each layer and the detached final layer, summed over the layers.

    `student_teacher` is the printed KL(layer ‖ final), `teacher_student` the one that a plain call of
    `kl_div` gives. `logp` is log-softmax of z where it is known.
    """
    teacher = z.detach().log_softmax(1) if logp is None else logp.detach()
    total = z.new_zeros(())
    for logits in layer_logits:
        student = logits.log_softmax(1)
        first, second = (student, teacher) if direction == "student_teacher" else (teacher, student)
        total = total + torch.linalg.vecdot(first.exp(), first - second).mean()
    return total


class ChildRewards(NamedTuple):
    """What a collaborative model says of the next token at N trie nodes."""

    tokens: Tensor  # [N, C] int64, the token on the edge to each child; 0 where there is none
    reward: Tensor  # [N, C] float64, sums to 1 over the children; 0 where there is none
    mask: Tensor  # [N, C] bool; a row without children is a position that L_CRR skips


def trie_reward(mass: Tensor, example: Tensor, node: Tensor, trie: TrieTables) -> ChildRewards:
    """r (Eq. 10) of every child of `node` [N] under the item masses of `example` [N]: mass below / mass here.

    `mass` [B, I] holds each example's non-negative item weights (any scale; a softmax of recommender
    scores). Items that share an identifier share a leaf, which sums them. Where a node's mass is 0 the row
    comes back without children.
    """
    # float64: a difference of float32 prefix sums loses every mass below 1e-7
    prefix = F.pad(mass.to(torch.float64)[:, trie.order].cumsum(1), (1, 0))
    tokens, child, mask = trie.children(node)
    row = example[:, None]
    here = prefix[row, trie.node_hi[node][:, None]] - prefix[row, trie.node_lo[node][:, None]]
    below = prefix[row, trie.node_hi[child]] - prefix[row, trie.node_lo[child]]
    mask = mask & (here > 0)
    reward = torch.where(mask, below / here.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    return ChildRewards(tokens.masked_fill(~mask, 0), reward, mask)


def ilrec_crr(
    z: Tensor,
    mask: Tensor,
    y: Tensor,
    rewards: ChildRewards,
    space: CRRSpace = "literal",
    *,
    logp: Tensor | None = None,
) -> Tensor:
    """L_CRR (Eq. 11): cross-entropy of z with the soft label softmax(r) over H = V_N ∪ {y}.

    A token of H that is no child of the node has r = 0, hence still a weight of e^0. `trie` takes only
    the children (and y) into H. A position without rewards adds 0 but counts in the mean.

    The label is never laid out over the vocabulary: it is 1 on V_N, e^r - 1 more on the children in V_N,
    and e^r on y, all divided by their sum.
    """
    literal = space == "literal"
    logp = z.log_softmax(1) if logp is None else logp
    reward = rewards.reward.to(z.dtype).masked_fill(~rewards.mask, 0.0)
    on_target = (reward * (rewards.tokens == y[:, None])).sum(1, keepdim=True).exp()
    extra = reward.expm1() if literal else reward.exp()
    extra = extra * (rewards.mask & mask.gather(1, rewards.tokens))
    weight = torch.cat([on_target, extra], 1)
    norm = weight.sum(1)
    label_logp = (weight * logp.gather(1, torch.cat([y[:, None], rewards.tokens], 1))).sum(1)
    if literal:
        norm = norm + mask.sum(1)
        label_logp = label_logp + (logp * mask).sum(1)
    return -torch.where(rewards.mask.any(1), label_logp / norm, 0.0).mean()


def ilrec_loss(
    z: Tensor,
    layer_logits: Sequence[Tensor],
    y: Tensor,
    *,
    alpha: float,
    beta: float,
    lam: float,
    mu: float,
    weight_source: WeightSource = "logit",
    cpo_form: CPOForm = "mult",
    cpd_direction: CPDDirection = "student_teacher",
    crr_space: CRRSpace = "literal",
    detach_weights: bool = True,
    ensemble: Literal["layers", "final"] = "layers",
    rewards: ChildRewards | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_CPO + λ L_CPD + μ L_CRR (Eq. 12) and its terms, detached scalars, for the training curve.

    A coefficient of 0 costs nothing: β = 0 leaves cross-entropy, λ = 0 and μ = 0 leave out `cpd` and `crr`,
    and without β and μ there are no negatives to count. `ensemble="final"` is the ablation without
    cross-layer negatives: P̂ is the detached P^L. `rewards` are needed where μ is not 0.
    """
    if mu and rewards is None:
        raise ValueError("mu is not 0, so the collaborative reward (rewards) is needed")
    # cross-entropy, the distillation's teacher and the reward term share one log-softmax; it needs a graph
    # only where a term is differentiated through it
    with torch.set_grad_enabled(torch.is_grad_enabled() and (not beta or bool(mu))):
        logp = z.log_softmax(1)
    ce = token_ce(z, y, logp=logp)
    total, terms = ce, {"ce": ce, "cpo": ce}
    if beta or mu:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not detach_weights):
            mean_logits = z.detach() if ensemble == "final" else ilrec_ensemble(layer_logits)
            mask = ilrec_negatives(mean_logits, y, alpha)
            if beta:
                w = ilrec_weights(mean_logits, mask, weight_source)
        terms |= negative_counts(z, mask)
    if beta:
        total = terms["cpo"] = ilrec_cpo(z, y, w, beta, cpo_form)
    if lam:
        terms["cpd"] = ilrec_cpd(layer_logits, z, cpd_direction, logp=logp)
        total = total + lam * terms["cpd"]
    if mu and rewards is not None:
        terms["crr"] = ilrec_crr(z, mask, y, rewards, crr_space, logp=logp)
        total = total + mu * terms["crr"]
    return total, {name: value.detach() for name, value in terms.items()}


@torch.no_grad()
def negative_counts(z: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Mean and 95th percentile of |V_N|, the share of positions without a negative, and the share of
    negatives whose final logit is below 0, where the `mult` form of CPO works the wrong way round."""
    size = mask.sum(1).to(z.dtype)
    return {
        "negatives_mean": size.mean(),
        "negatives_p95": size.quantile(0.95),
        "negatives_empty_share": (size == 0).to(z.dtype).mean(),
        "negative_logit_share": (mask & (z < 0)).sum() / size.sum().clamp_min(1.0),
    }
