"""The pair losses over one batch: worked numbers, gradients, limit cases, extremes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from recbench.errors import UsageError
from recbench.llm.losses import pairs as losses
from recbench.llm.losses import preference
from recbench.llm.losses.pairs import PairBatch
from tests.unit.llm.losses.conftest import DOUBLE, batch_of, random_batch, tensor

Loss = Callable[[PairBatch], Tensor]


def worked(k: int, *, need_grad: bool = False) -> PairBatch:
    """One example: the chosen response of 4 tokens, rejected ones of 5 and 3, of which the first k."""
    pi_w, pi_l = tensor(-4.0), tensor([-6.0, -3.0])[:, :k]
    return batch_of(
        pi_w.requires_grad_(need_grad),
        pi_l.requires_grad_(need_grad),
        tensor(-5.0),
        tensor([-5.5, -4.0])[:, :k],
        len_w=tensor(4.0),
        len_l=tensor([5.0, 3.0])[:, :k],
    )


NUMBERS: dict[str, tuple[Loss, float, float]] = {
    "simpo 2 1": (lambda b: losses.simpo(b, 2.0, 1.0), 1.037488, 1.712067),
    "simpo 2 1 pairs": (lambda b: losses.simpo(b, 2.0, 1.0, "pairs"), 1.037488, 1.175375),
    "simpo 10 3": (lambda b: losses.simpo(b, 10.0, 3.0), 1.313262, 3.169846),
    "simpo 10 3 pairs": (lambda b: losses.simpo(b, 10.0, 3.0, "pairs"), 1.313262, 2.180925),
    "cpo": (lambda b: losses.cpo(b, 0.1), 0.598139, 1.072919),
    "cpo pairs": (lambda b: losses.cpo(b, 0.1, "pairs"), 0.598139, 0.671268),
    "orpo": (losses.orpo, 0.554231, 1.008177),
    "orpo pairs": (lambda b: losses.orpo(b, "pairs"), 0.554231, 0.623689),
    "ipo 0.1 per token": (lambda b: losses.ipo(b, 0.1), 21.622500, 23.731389),
    "ipo 0.1 summed": (lambda b: losses.ipo(b, 0.1, per_token=False), 12.25, 18.625),
    "ipo 0.5 per token": (lambda b: losses.ipo(b, 0.5), 0.4225, 0.798056),
    "ipo 0.5 summed": (lambda b: losses.ipo(b, 0.5, per_token=False), 0.25, 0.625),
    "cdpo": (lambda b: losses.smoothed_dpo(b, 0.1, 0.1, "conservative"), 0.635957, 0.664552),
    "robust": (lambda b: losses.smoothed_dpo(b, 0.1, 0.1, "robust"), 0.602207, 0.647677),
    "dpo-norm": (lambda b: losses.dpo_norm(b, 2.0), 0.403186, 0.985050),
    "apo-zero 0.1": (lambda b: losses.apo_zero(b, 0.1), 0.962523, 0.981262),
    "apo-zero 1": (lambda b: losses.apo_zero(b, 1.0), 0.646482, 0.823241),
    "sppo-hard 0.1": (lambda b: losses.sppo_hard(b, 0.1), 36.25, 44.125),
    "sppo-hard 1": (lambda b: losses.sppo_hard(b, 1.0), 0.25, 1.375),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_each_loss_of_one_and_of_two_rejected_responses(name: str) -> None:
    loss, one, two = NUMBERS[name]
    assert loss(worked(1)).item() == pytest.approx(one, abs=1e-6)
    assert loss(worked(2)).item() == pytest.approx(two, abs=1e-6)


def test_orpo_and_cpo_with_their_cross_entropy() -> None:
    """The chosen response has 4 tokens of 1 nat: a cross-entropy of 1."""
    nll = 1.0
    assert losses.cpo(worked(1), 0.1).item() + nll == pytest.approx(1.598139, abs=1e-6)
    assert losses.cpo(worked(2), 0.1).item() + nll == pytest.approx(2.072919, abs=1e-6)
    assert nll + 0.1 * losses.orpo(worked(1)).item() == pytest.approx(1.055423, abs=1e-6)
    assert nll + 0.1 * losses.orpo(worked(2)).item() == pytest.approx(1.100818, abs=1e-6)


def test_log_odds_of_mean_log_probabilities_and_where_they_saturate() -> None:
    assert losses.log_odds(tensor(-1.0, -1.2)).tolist() == pytest.approx([-0.541325, -0.841618], abs=1e-6)
    assert losses.log1mexp(tensor(-1e-10)).item() == pytest.approx(-23.025851, abs=1e-6)
    sure = tensor(0.0, -1e-9, -1e4).requires_grad_()
    odds = losses.log_odds(sure)
    (gradient,) = torch.autograd.grad(odds.sum(), sure)
    assert odds.isfinite().all()
    assert gradient.tolist() == [0.0, 0.0, 1.0]


def test_smoothed_losses_of_a_margin_of_one() -> None:
    one = tensor(1.0)
    epsilon = tensor(0.1)
    assert preference.smoothed(one, epsilon, "conservative").item() == pytest.approx(0.413262, abs=1e-6)
    assert preference.smoothed(one, epsilon, "robust").item() == pytest.approx(0.188262, abs=1e-6)


def gradients(loss: Loss, k: int = 2) -> tuple[list[float], list[float]]:
    batch = worked(k, need_grad=True)
    of_w, of_l = torch.autograd.grad(loss(batch), [batch.pi_w, batch.pi_l], allow_unused=True)
    return of_w.tolist(), of_l[0].tolist()


def test_gradients_of_simpo_and_orpo_by_response() -> None:
    of_w, of_l = gradients(lambda b: losses.simpo(b, 2.0, 1.0))
    assert of_w == pytest.approx([-0.409754], abs=1e-6)
    assert of_l == pytest.approx([0.131551, 0.327086], abs=1e-6)
    of_w, of_l = gradients(losses.orpo)
    assert of_w == pytest.approx([-0.251185], abs=1e-6)
    assert of_l == pytest.approx([0.077341, 0.192412], abs=1e-6)


def test_gradient_of_ipo_is_twice_the_error_per_token_and_of_apo_zero_a_slope() -> None:
    """ρ^w 1 of 4 tokens, ρ^l -0.5 of 5: δ 0.35; σ'(x) = σ(x)(1 - σ(x))."""
    of_w, of_l = gradients(lambda b: losses.ipo(b, 0.5), k=1)
    error = 2 * (0.35 - 1.0)
    assert of_w == pytest.approx([error / 4])
    assert of_l == pytest.approx([-error / 5])
    of_w, of_l = gradients(lambda b: losses.apo_zero(b, 1.0), k=1)
    slope = [s * (1 - s) for s in (1 / (1 + math.exp(-1)), 1 / (1 + math.exp(0.5)))]
    assert of_w == pytest.approx([-slope[0]])
    assert of_l == pytest.approx([slope[1]])


def kto_batch(k: int, unrelated: Tensor) -> PairBatch:
    zero_w, zero_l = torch.zeros(2, dtype=DOUBLE), torch.zeros(2, k, dtype=DOUBLE)
    rho_l = tensor([-0.5, 1.0], [0.6, 0.1])[:, :k]
    return batch_of(tensor(1.0, 0.2), rho_l, zero_w, zero_l, unrelated=unrelated)


def test_kto_of_two_examples_against_responses_to_other_prompts() -> None:
    """Mismatched ρ 0.3 and -0.1: z₀ 0.1; a negative mean counts as 0."""
    z = tensor(0.3, -0.1).mean()
    for beta, one, two in ((0.1, 0.493129, 0.496252), (1.0, 0.435219, 0.464487)):
        assert losses.kto(kto_batch(1, z), beta).item() == pytest.approx(one, abs=1e-6)
        assert losses.kto(kto_batch(2, z), beta).item() == pytest.approx(two, abs=1e-6)
    below = kto_batch(1, tensor(-3.0)[0])
    assert losses.kto(below, 1.0).item() == pytest.approx(0.435576, abs=1e-6)
    assert losses.kto(below, 1.0).item() == pytest.approx(losses.apo_zero(below, 1.0).item() / 2)


def test_kto_weighs_chosen_and_rejected_and_sends_no_gradient_to_the_others() -> None:
    z = tensor(0.3)[0].requires_grad_()
    batch = kto_batch(1, z)
    only_w = losses.kto(batch, 1.0, lambda_l=0.0)
    only_l = losses.kto(batch, 1.0, lambda_w=0.0)
    assert (only_w + only_l).item() == pytest.approx(losses.kto(batch, 1.0).item())
    assert not losses.kto(batch, 1.0, lambda_w=1.33).requires_grad


def test_kto_without_responses_of_others_and_a_loss_without_its_reference_are_refused() -> None:
    with pytest.raises(UsageError, match="responses of other prompts"):
        losses.kto(worked(1), 0.1)
    with pytest.raises(UsageError, match="reads a reference"):
        losses.ipo(replace(worked(1), reference=None), 0.1)


FREE: dict[str, Loss] = {
    "simpo": lambda b: losses.simpo(b, 2.0, 1.0),
    "cpo": lambda b: losses.cpo(b, 0.1),
    "orpo": losses.orpo,
}
REFERRED: dict[str, Loss] = {
    "dpo pairs": lambda b: losses.dpo_pairs(b, 0.5),
    "dpo-norm": lambda b: losses.dpo_norm(b, 2.0),
    "ipo": lambda b: losses.ipo(b, 0.5),
    "ipo summed": lambda b: losses.ipo(b, 0.5, per_token=False),
    "cdpo": lambda b: losses.smoothed_dpo(b, 0.5, 0.1, "conservative"),
    "robust": lambda b: losses.smoothed_dpo(b, 0.5, 0.1, "robust"),
    "apo-zero": lambda b: losses.apo_zero(b, 0.5),
    "sppo-hard": lambda b: losses.sppo_hard(b, 0.5),
    "kto": lambda b: losses.kto(b, 0.5),
}
ALL = {**FREE, **REFERRED}


@pytest.mark.parametrize("name", FREE)
def test_a_loss_without_a_reference_reads_none(name: str) -> None:
    FREE[name](replace(worked(2), reference=None))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dpo pairs", math.log(2)),
        ("dpo-norm", math.log(1 + 3)),
        ("ipo", 1.0),
        ("cdpo", math.log(2)),
        ("robust", math.log(2)),
        ("apo-zero", 1.0),
        ("sppo-hard", 2.0),
        ("kto", 0.5),
    ],
)
def test_each_loss_where_policy_and_reference_agree(name: str, expected: float) -> None:
    """At β 0.5 and with 3 rejected responses: IPO 1/(4β²), SPPO-hard 1/(2β²)."""
    pi_w, pi_l, _, _ = random_batch(1)
    batch = batch_of(pi_w, pi_l, pi_w, pi_l, unrelated=tensor(0.0)[0])
    assert ALL[name](batch).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ALL)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(2, spread=1.0)
    mask = torch.ones_like(pi_l, dtype=torch.bool)
    mask[1, 2] = False

    def loss(pi_w: Tensor, pi_l: Tensor) -> Tensor:
        return ALL[name](batch_of(pi_w, pi_l, ref_w, ref_l, mask=mask, unrelated=tensor(0.2)[0]))

    assert gradcheck(loss, (pi_w.requires_grad_(), pi_l.requires_grad_()))


@pytest.mark.parametrize("name", ALL)
def test_missing_rejected_responses_leave_no_trace_and_an_example_without_any_counts(name: str) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(3, b=2, k=2)
    mask = torch.tensor([[True, False], [False, False]])
    values = []
    for filler in (0.0, -50.0):
        rejected = pi_l.masked_fill(~mask, filler).requires_grad_()
        batch = batch_of(pi_w, rejected, ref_w, ref_l, mask=mask, unrelated=tensor(0.2)[0])
        loss = ALL[name](batch)
        (gradient,) = torch.autograd.grad(loss, rejected)
        assert (gradient[~mask] == 0).all()
        values.append(loss.item())
    assert values[0] == values[1]
    alone = batch_of(pi_w[:1], pi_l[:1, :1], ref_w[:1], ref_l[:1, :1], unrelated=tensor(0.2)[0])
    assert values[0] == pytest.approx(ALL[name](alone).item() / 2)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("name", ALL)
def test_values_and_gradients_are_finite_for_log_ratios_of_ten_thousand(
    name: str, dtype: torch.dtype
) -> None:
    far = torch.tensor([-2e4, -2.0, -1.0, -1e-9], dtype=dtype)
    pi_w, pi_l = far.clone().requires_grad_(), far.flip(0)[:, None].clone().requires_grad_()
    zero = torch.zeros(4, dtype=dtype)
    batch = batch_of(pi_w, pi_l, zero, zero[:, None], unrelated=zero[0])
    loss = ALL[name](batch)
    found = torch.autograd.grad(loss, [pi_w, pi_l])
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in found)


def test_softmax_of_pairs_is_sdpo_and_one_rejected_response_is_the_same_either_way() -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(4)
    batch = batch_of(pi_w, pi_l, ref_w, ref_l)
    expected = preference.sdpo(pi_w, pi_l, ref_w, ref_l, batch.mask, 0.7).loss
    torch.testing.assert_close(losses.dpo_norm(batch, 4 * 0.7), expected)  # four tokens each
    one = batch_of(pi_w, pi_l[:, :1], ref_w, ref_l[:, :1])
    torch.testing.assert_close(losses.dpo_norm(one, 2.0), losses.dpo_norm(one, 2.0, "pairs"))
    torch.testing.assert_close(
        losses.dpo_pairs(one, 0.7), preference.dpo(pi_w, pi_l[:, 0], ref_w, ref_l[:, 0], 0.7).loss
    )
