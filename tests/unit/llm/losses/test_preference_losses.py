"""The losses over whole responses: worked numbers, limit cases, extremes, finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from recbench.llm.losses import preference
from recbench.llm.losses.preference import PreferenceLoss, RosePOForm
from tests.unit.llm.losses.conftest import DOUBLE, everything, random_batch, rosepo, tensor

LOG2 = math.log(2)

# A loss of (pi_w [B], pi_l [B, K], ref_w [B], ref_l [B, K], beta); pair losses take the first rejected.
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, float], PreferenceLoss]


def dpo(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> PreferenceLoss:
    return preference.dpo(pi_w, pi_l[:, 0], ref_w, ref_l[:, 0], beta)


def sdpo(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> PreferenceLoss:
    return preference.sdpo(pi_w, pi_l, ref_w, ref_l, everything(pi_l), beta)


def dmpo(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> PreferenceLoss:
    return preference.dmpo(pi_w, pi_l, ref_w, ref_l, everything(pi_l), beta)


def smoothed(form: RosePOForm, epsilon: float) -> Loss:
    def loss(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> PreferenceLoss:
        smoothing = torch.full_like(pi_w, epsilon)
        value = rosepo(pi_w, pi_l[:, 0], ref_w, ref_l[:, 0], beta, smoothing, form)
        return PreferenceLoss(value, pi_w - ref_w, pi_l - ref_l)

    return loss


LOSSES: dict[str, Loss] = {
    "dpo": dpo,
    "sdpo": sdpo,
    "dmpo": dmpo,
    "rosepo": smoothed("conservative", 0.2),
    "robust": smoothed("robust", 0.2),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


# DPO: pi = (-4, -6), ref = (-5, -5.5), so ρ^w = 1, ρ^l = -0.5


@pytest.mark.parametrize(("beta", "expected"), [(0.1, 0.620957), (1.0, 0.201413)])
def test_dpo_of_a_margin_of_one_and_a_half_nats(beta: float, expected: float) -> None:
    # softplus of -0.15 and of -1.5
    loss, rho_w, rho_l = preference.dpo(tensor(-4.0), tensor(-6.0), tensor(-5.0), tensor(-5.5), beta)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert (rho_w.tolist(), rho_l.tolist()) == ([1.0], [-0.5])


def test_gradient_of_dpo_is_beta_times_the_chance_of_the_wrong_order() -> None:
    # -β σ(-0.15) = -0.1 * 0.462570 on the chosen, the opposite on the rejected
    pi_w, pi_l = tensor(-4.0).requires_grad_(), tensor(-6.0).requires_grad_()
    loss = preference.dpo(pi_w, pi_l, tensor(-5.0), tensor(-5.5), 0.1).loss
    gradients = torch.autograd.grad(loss, (pi_w, pi_l))
    assert [g.item() for g in gradients] == pytest.approx([-0.046257, 0.046257], abs=1e-6)


@every_loss
def test_no_gradient_reaches_the_reference(loss: Loss) -> None:
    batch = random_batch(0)
    for part in batch:
        part.requires_grad_()
    gradients = torch.autograd.grad(loss(*batch, 0.5).loss, batch, allow_unused=True)
    assert [gradient is None for gradient in gradients] == [False, False, True, True]


def test_dpo_of_one_response_as_chosen_and_rejected_is_log_two_without_gradient() -> None:
    logp, ref = tensor(-4.0).requires_grad_(), tensor(-5.0)
    loss = preference.dpo(logp, logp, ref, ref, 0.7).loss
    assert loss.item() == pytest.approx(0.693147, abs=1e-6)
    assert torch.autograd.grad(loss, logp)[0].item() == 0


@pytest.mark.parametrize(
    ("loss", "k", "expected"),
    [
        (dpo, 1, LOG2),
        (dmpo, 3, LOG2),
        (smoothed("conservative", 0.3), 1, LOG2),
        (smoothed("robust", 0.3), 1, LOG2),
        (sdpo, 1, LOG2),
        (sdpo, 3, 1.386294),
        (sdpo, 5, 1.791759),
    ],
)
def test_loss_where_policy_and_reference_agree(loss: Loss, k: int, expected: float) -> None:
    # log 2 for a pair, log(1 + K) for a softmax over K + 1 responses
    pi_w, pi_l, _, _ = random_batch(1, k=k)
    assert loss(pi_w, pi_l, pi_w, pi_l, 0.5).loss.item() == pytest.approx(expected, abs=1e-6)


# S-DPO: ρ^w = 1, ρ^l = (-0.5, 1), so a = (-1.5, 0) at β = 1

WORKED = tensor(-4.0), tensor([-6.0, -3.0]), tensor(-5.0), tensor([-5.5, -4.0])


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 0.798916), (0.1, 1.051069)])
def test_sdpo_of_two_rejected_responses(beta: float, expected: float) -> None:
    # the logarithms of 1 + e^-1.5 + 1 and of 1 + e^-0.15 + 1
    loss, rho_w, rho_l = sdpo(*WORKED, beta)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert (rho_w.tolist(), rho_l.tolist()) == ([1.0], [[-0.5, 1.0]])


def test_gradient_of_sdpo_weighs_the_harder_rejected_response_more() -> None:
    # e^-1.5 / (2 + e^-1.5) and 1 / (2 + e^-1.5); the chosen gets minus their sum
    pi_w, pi_l = (t.clone().requires_grad_() for t in WORKED[:2])
    on_w, on_l = torch.autograd.grad(sdpo(pi_w, pi_l, *WORKED[2:], 1.0).loss, (pi_w, pi_l))
    assert on_l[0].tolist() == pytest.approx([0.100368, 0.449816], abs=1e-6)
    assert on_w.item() == pytest.approx(-0.550184, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_sdpo_of_a_rejected_response_far_ahead_is_its_lead(dtype: torch.dtype) -> None:
    # a = (800, 1): e^800 overflows, its logarithm does not
    zero = torch.zeros(1, 2, dtype=dtype)
    loss = sdpo(zero[:, 0], tensor([800.0, 1.0], dtype=dtype), zero[:, 0], zero, 1.0).loss
    assert loss.item() == 800.0


def test_sdpo_of_a_rejected_response_far_behind_has_no_gradient() -> None:
    # a = -200: e^-200 underflows float32, where log(log(1 + 0)) would have a NaN gradient
    zero = torch.zeros(1, 1)
    pi_l = torch.full((1, 1), -200.0, requires_grad=True)
    loss = sdpo(zero[:, 0], pi_l, zero[:, 0], zero, 1.0).loss
    assert loss.item() == 0
    assert torch.autograd.grad(loss, pi_l)[0].item() == 0


@given(seed=st.integers(0, 10**6), beta=st.floats(0.01, 5))
def test_sdpo_is_the_cross_entropy_of_the_chosen_among_all_responses(seed: int, beta: float) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(seed)
    scores = beta * torch.cat([(pi_w - ref_w)[:, None], pi_l - ref_l], 1)
    expected = torch.nn.functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64))
    torch.testing.assert_close(sdpo(pi_w, pi_l, ref_w, ref_l, beta).loss, expected)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_sdpo_tends_to_the_log_of_the_number_of_responses_as_beta_vanishes(k: int) -> None:
    assert sdpo(*random_batch(2, k=k), 1e-9).loss.item() == pytest.approx(math.log(1 + k), abs=1e-7)


def test_dmpo_of_two_rejected_responses_takes_their_mean() -> None:
    # ρ^w = 1 against (-0.5 + 1) / 2 = 0.25: ln(1 + e^-0.75)
    loss, rho_w, rho_l = dmpo(*WORKED, 1.0)
    assert loss.item() == pytest.approx(0.386871, abs=1e-6)
    assert (rho_w.tolist(), rho_l.tolist()) == ([1.0], [[-0.5, 1.0]])


@pytest.mark.parametrize(
    "loss",
    [sdpo, dmpo, smoothed("conservative", 0.0), smoothed("robust", 0.0)],
    ids=["S", "DM", "cons", "robust"],
)
@given(seed=st.integers(0, 10**6), beta=st.floats(0.01, 5))
def test_one_rejected_response_or_no_smoothing_is_dpo(loss: Loss, seed: int, beta: float) -> None:
    batch = random_batch(seed, k=1)
    inputs = [t.requires_grad_() for t in batch[:2]]
    ours, pair = loss(*batch, beta).loss, dpo(*batch, beta).loss
    torch.testing.assert_close(ours, pair)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs), torch.autograd.grad(pair, inputs))


# Missing rejected responses


@pytest.mark.parametrize("loss", [preference.sdpo, preference.dmpo])
def test_missing_rejected_responses_leave_no_trace(loss: Callable[..., PreferenceLoss]) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(3, b=2, k=3)
    mask = torch.tensor([[True, True, False], [True, True, False]])
    pi_l[:, 2] = math.nan
    inputs = [t.requires_grad_() for t in (pi_w, pi_l)]
    whole = loss(pi_w, pi_l, ref_w, ref_l, mask, 0.7)
    short = loss(pi_w, pi_l[:, :2], ref_w, ref_l[:, :2], mask[:, :2], 0.7)
    torch.testing.assert_close(whole.loss, short.loss)
    assert whole.rho_l[:, 2].tolist() == [0, 0]
    on_w, on_l = torch.autograd.grad(whole.loss, inputs)
    assert on_w.isfinite().all()
    assert on_l[:, 2].tolist() == [0, 0]


@pytest.mark.parametrize("loss", [preference.sdpo, preference.dmpo])
def test_an_example_without_rejected_responses_adds_nothing_but_counts(
    loss: Callable[..., PreferenceLoss],
) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(4, b=2, k=2)
    mask = torch.tensor([[True, True], [False, False]])
    pi_w.requires_grad_()
    both = loss(pi_w, pi_l, ref_w, ref_l, mask, 0.7).loss
    alone = loss(pi_w[:1], pi_l[:1], ref_w[:1], ref_l[:1], mask[:1], 0.7).loss
    torch.testing.assert_close(both, alone / 2)
    (gradient,) = torch.autograd.grad(both, pi_w)
    assert gradient[1] == 0
    assert gradient[0] != 0


# Extremes and gradients


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_values_and_gradients_are_finite_for_log_ratios_up_to_ten_thousand(
    loss: Loss, dtype: torch.dtype
) -> None:
    corners = torch.cartesian_prod(*[tensor(-1e4, 0.0, 1e4, dtype=dtype)] * 3)  # every ρ^w, ρ^l_1, ρ^l_2
    ref = torch.full((len(corners), 3), -7.0, dtype=dtype)
    for row in range(len(corners)):
        pi = (corners + ref)[row : row + 1].requires_grad_()
        result = loss(pi[:, 0], pi[:, 1:], ref[:1, 0], ref[:1, 1:], 1.0).loss
        (gradient,) = torch.autograd.grad(result, pi)
        assert result.dtype == dtype
        assert result.isfinite()
        assert gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_gradients_agree_with_finite_differences(loss: Loss, seed: int) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(seed)
    inputs = pi_w.requires_grad_(), pi_l.requires_grad_()
    assert gradcheck(lambda pi_w, pi_l: loss(pi_w, pi_l, ref_w, ref_l, 0.3).loss, inputs)


@pytest.mark.parametrize("loss", [preference.sdpo, preference.dmpo])
def test_gradients_of_ragged_batches_agree_with_finite_differences(
    loss: Callable[..., PreferenceLoss],
) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(6, b=3)
    mask = torch.tensor([[True, True, True], [False, True, False], [False, False, False]])
    inputs = pi_w.requires_grad_(), pi_l.requires_grad_()
    assert gradcheck(lambda pi_w, pi_l: loss(pi_w, pi_l, ref_w, ref_l, mask, 0.3).loss, inputs)


@every_loss
def test_a_better_margin_costs_less(loss: Loss) -> None:
    # of the conservative form only below h = log(0.8 / 0.2) = 1.386, which margins of this size never reach
    pi_w, pi_l, ref_w, ref_l = random_batch(7, spread=0.1)
    assert loss(pi_w + 0.1, pi_l, ref_w, ref_l, 0.5).loss < loss(pi_w, pi_l, ref_w, ref_l, 0.5).loss
    assert loss(pi_w, pi_l + 0.1, ref_w, ref_l, 0.5).loss > loss(pi_w, pi_l, ref_w, ref_l, 0.5).loss
