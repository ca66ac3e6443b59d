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

from recbench.llm.training import losses
from recbench.llm.training.losses import PreferenceLoss, RosePOForm

DOUBLE = torch.float64
LOG2 = math.log(2)

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
# A loss of (pi_w [B], pi_l [B, K], ref_w [B], ref_l [B, K], beta); pair losses take the first rejected.
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, float], PreferenceLoss]


def tensor(*values: object, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def everything(pi_l: Tensor) -> Tensor:
    return torch.ones_like(pi_l, dtype=torch.bool)


def dpo(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> PreferenceLoss:
    return losses.dpo(pi_w, pi_l[:, 0], ref_w, ref_l[:, 0], beta)


def sdpo(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> PreferenceLoss:
    return losses.sdpo(pi_w, pi_l, ref_w, ref_l, everything(pi_l), beta)


def dmpo(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> PreferenceLoss:
    return losses.dmpo(pi_w, pi_l, ref_w, ref_l, everything(pi_l), beta)


def rosepo(form: RosePOForm, epsilon: float) -> Loss:
    def loss(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> PreferenceLoss:
        smoothing = torch.full_like(pi_w, epsilon)
        return losses.rosepo(pi_w, pi_l[:, 0], ref_w, ref_l[:, 0], beta, smoothing, form)

    return loss


LOSSES: dict[str, Loss] = {
    "dpo": dpo,
    "sdpo": sdpo,
    "dmpo": dmpo,
    "rosepo": rosepo("conservative", 0.2),
    "robust": rosepo("robust", 0.2),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


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


# DPO: pi = (-4, -6), ref = (-5, -5.5), so ρ^w = 1, ρ^l = -0.5


@pytest.mark.parametrize(("beta", "expected"), [(0.1, 0.620957), (1.0, 0.201413)])
def test_dpo_of_a_margin_of_one_and_a_half_nats(beta: float, expected: float) -> None:
    # softplus of -0.15 and of -1.5
    loss, rho_w, rho_l = losses.dpo(tensor(-4.0), tensor(-6.0), tensor(-5.0), tensor(-5.5), beta)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert (rho_w.tolist(), rho_l.tolist()) == ([1.0], [-0.5])


def test_gradient_of_dpo_is_beta_times_the_chance_of_the_wrong_order() -> None:
    # -β σ(-0.15) = -0.1 * 0.462570 on the chosen, the opposite on the rejected
    pi_w, pi_l = tensor(-4.0).requires_grad_(), tensor(-6.0).requires_grad_()
    loss = losses.dpo(pi_w, pi_l, tensor(-5.0), tensor(-5.5), 0.1).loss
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
    loss = losses.dpo(logp, logp, ref, ref, 0.7).loss
    assert loss.item() == pytest.approx(0.693147, abs=1e-6)
    assert torch.autograd.grad(loss, logp)[0].item() == 0


@pytest.mark.parametrize(
    ("loss", "k", "expected"),
    [
        (dpo, 1, LOG2),
        (dmpo, 3, LOG2),
        (rosepo("conservative", 0.3), 1, LOG2),
        (rosepo("robust", 0.3), 1, LOG2),
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
    [sdpo, dmpo, rosepo("conservative", 0.0), rosepo("robust", 0.0)],
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


@pytest.mark.parametrize("loss", [losses.sdpo, losses.dmpo])
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


@pytest.mark.parametrize("loss", [losses.sdpo, losses.dmpo])
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


# RosePO


@pytest.mark.parametrize(
    ("h", "epsilon", "form", "expected"),
    [
        (0.15, 0.2, "conservative", 0.650957),  # 0.620957 + 0.2 * 0.15
        (0.15, 0.2, "robust", 0.570957),  # 0.620957 - 0.2 / 0.6 * 0.15
        (1.0, 0.25, "conservative", 0.563262),  # 0.313262 + 0.25
        (1.0, 0.25, "robust", -0.186738),  # 0.313262 - 0.25 / 0.5
        (-0.5, 0.25, "conservative", 0.849077),  # 0.974077 - 0.125
    ],
)
def test_rosepo_of_both_forms(h: float, epsilon: float, form: RosePOForm, expected: float) -> None:
    zero = tensor(0.0)
    loss = losses.rosepo(tensor(h), zero, zero, zero, 1.0, tensor(epsilon), form).loss
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_smoothing_is_the_oracles_preference_for_the_rejected_item() -> None:
    # σ(1 - 2) = 0.268941, and 0.620957 + 0.268941 * 0.15 = 0.661298
    smoothing = losses.oracle_smoothing(tensor(2.0), tensor(1.0), 1.0)
    assert smoothing.tolist() == pytest.approx([0.268941], abs=1e-6)
    zero = tensor(0.0)
    loss = losses.rosepo(tensor(0.15), zero, zero, zero, 1.0, smoothing).loss
    assert loss.item() == pytest.approx(0.661298, abs=1e-6)


def test_smoothing_stops_below_one_half() -> None:
    # an oracle that prefers the rejected item would reverse the pair; a higher temperature doubts more
    s_w, s_l = tensor(0.0, 900.0, 2.0), tensor(5.0, 0.0, 0.0)
    assert losses.oracle_smoothing(s_w, s_l, 1.0).tolist() == pytest.approx([0.49, 0.0, 0.119203], abs=1e-6)
    assert losses.oracle_smoothing(s_w, s_l, 2.0)[2].item() == pytest.approx(0.268941, abs=1e-6)
    assert losses.oracle_smoothing(s_w, s_l, 1.0, limit=0.1).tolist() == pytest.approx([0.1, 0.0, 0.1])


@pytest.mark.parametrize(("temperature", "limit"), [(0.0, 0.49), (-1.0, 0.49), (1.0, 0.5), (1.0, -0.1)])
def test_smoothing_that_could_reverse_a_pair_is_refused(temperature: float, limit: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        losses.oracle_smoothing(tensor(1.0), tensor(0.0), temperature, limit)


def test_no_gradient_reaches_the_oracle() -> None:
    batch = random_batch(5, k=1)
    scores = tensor(1.0, 0.0, 2.0, -1.0).requires_grad_()
    assert not losses.oracle_smoothing(scores, torch.zeros_like(scores), 1.0).requires_grad
    inputs = [batch[0].requires_grad_(), scores]
    loss = losses.rosepo(batch[0], batch[1][:, 0], batch[2], batch[3][:, 0], 0.5, scores.sigmoid() / 2).loss
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    assert [gradient is None for gradient in gradients] == [False, True]


def test_an_uncertain_pair_stops_pulling_at_its_log_odds() -> None:
    # ε = 0.25: log(0.75 / 0.25) = 1.098612
    h, zero = tensor(1.098612).requires_grad_(), tensor(0.0)
    loss = losses.rosepo(h, zero, zero, zero, 1.0, tensor(0.25)).loss
    assert torch.autograd.grad(loss, h)[0].item() == pytest.approx(0, abs=1e-6)


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
        found = loss(pi[:, 0], pi[:, 1:], ref[:1, 0], ref[:1, 1:], 1.0).loss
        (gradient,) = torch.autograd.grad(found, pi)
        assert found.dtype == dtype
        assert found.isfinite()
        assert gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_gradients_agree_with_finite_differences(loss: Loss, seed: int) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(seed)
    inputs = pi_w.requires_grad_(), pi_l.requires_grad_()
    assert gradcheck(lambda pi_w, pi_l: loss(pi_w, pi_l, ref_w, ref_l, 0.3).loss, inputs)


@pytest.mark.parametrize("loss", [losses.sdpo, losses.dmpo])
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


# SOFT


def test_distance_is_the_mean_over_outputs() -> None:
    # |(1, 2) - (4, 6)| = 5, |(0, 0) - (0, 2)| = 2
    outputs, targets = tensor([1.0, 2.0], [0.0, 0.0]), tensor([4.0, 6.0], [0.0, 2.0])
    assert losses.soft_distance(outputs, targets).item() == 3.5


@pytest.mark.parametrize(
    ("d_t", "alpha", "tau", "raw", "mixed"),
    [
        (1.8, 1.0, 0.904837, 0.904837, 1.552260),  # e^-0.1; 0.095163 * 3 + 0.904837 * 1.4
        (1.5, 10.0, 0.082085, 0.082085, 2.868664),  # e^-2.5
        (2.2, 10.0, 1.0, 2.718282, 1.4),  # e^1 is cut to 1: only the distilled loss is left
    ],
)
def test_weight_of_distilled_data_and_the_mixed_loss(
    d_t: float, alpha: float, tau: float, raw: float, mixed: float
) -> None:
    found = losses.soft_tau(d_t, 2.0, alpha)
    assert found == pytest.approx((tau, raw), abs=1e-6)
    loss = losses.soft_mix(tensor(3.0), tensor(1.4), found.tau)
    assert loss.item() == pytest.approx(mixed, abs=1e-6)


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0.1, 0.990050), (1.0, 0.904837), (10.0, 0.367879), (100.0, 0.000045)]
)
def test_alpha_sets_how_fast_distilled_data_loses_its_weight(alpha: float, expected: float) -> None:
    assert losses.soft_tau(0.9, 1.0, alpha).tau == pytest.approx(expected, abs=1e-6)


def test_the_first_epoch_is_pure_distillation_and_no_distance_overflows() -> None:
    assert losses.soft_tau(3.7, 3.7, 10.0) == (1.0, 1.0)
    assert losses.soft_tau(90.0, 1.0, 100.0) == (1.0, math.inf)
    assert losses.soft_tau(0.0, 1.0, 1e4) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("d_t", "d_0"), [(1.0, 0.0), (1.0, -1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, math.nan)]
)
def test_distances_without_a_schedule_are_refused(d_t: float, d_0: float) -> None:
    with pytest.raises(ValueError, match="d_0 > 0"):
        losses.soft_tau(d_t, d_0, 1.0)


# Diagnostics


def test_diagnostics_of_two_examples_with_three_rejected_responses() -> None:
    diagnostics = losses.preference_diagnostics(
        tensor(-4.0, -3.0).requires_grad_(),
        tensor([-6.0, -3.0], [-5.0, math.nan]),
        tensor(-5.0, -2.0),
        tensor([-5.5, -4.0], [-3.0, -1.0]),
        torch.tensor([[True, True], [True, False]]),
    )
    # ρ^w = (1, -1), ρ^l = (-0.5, 1), (-2): margins 1.5, 0, 1. The first example only ties with its second
    # rejected response, so one of two examples is right. e^ρ - 1 - ρ: 0.718282, 0.367879, then 0.106531,
    # 0.718282, 1.135335; their mean is 0.609262.
    assert {name: value.item() for name, value in diagnostics.items()} == pytest.approx(
        {
            "chosen_logp": -3.5,
            "rejected_logp": -14 / 3,
            "margin": 2.5 / 3,
            "accuracy": 0.5,
            "displacement": 0.0,
            "kl": 0.609262,
        },
        abs=1e-6,
    )
    assert not any(value.requires_grad for value in diagnostics.values())


def test_diagnostics_of_a_batch_without_rejected_responses() -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(8)
    diagnostics = losses.preference_diagnostics(pi_w, pi_l, ref_w, ref_l, ~everything(pi_l))
    assert [diagnostics[name].item() for name in ("rejected_logp", "margin", "accuracy")] == [0, 0, 0]
    torch.testing.assert_close(diagnostics["displacement"], (pi_w - ref_w).mean())


@given(seed=st.integers(0, 10**6), spread=st.sampled_from([1e-3, 1.0, 100.0]))
def test_divergence_is_never_negative_and_0_only_where_nothing_moved(seed: int, spread: float) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(seed, spread=spread)
    mask = everything(pi_l)
    assert losses.preference_diagnostics(pi_w, pi_l, ref_w, ref_l, mask)["kl"] > 0
    assert losses.preference_diagnostics(pi_w, pi_l, pi_w, pi_l, mask)["kl"] == 0


def test_divergence_of_responses_drawn_from_the_reference_is_unbiased() -> None:
    # a vocabulary of three responses: the expectation under the reference is the exact KL(reference ‖ policy)
    reference, policy = tensor(0.5, 0.3, 0.2), tensor(0.2, 0.2, 0.6)
    exact = (reference * (reference / policy).log()).sum()
    none = torch.zeros(1, 0, dtype=DOUBLE)
    each = [
        losses.preference_diagnostics(p[None].log(), none, r[None].log(), none, everything(none))["kl"]
        for p, r in zip(policy, reference, strict=True)
    ]
    torch.testing.assert_close((reference * torch.stack(each)).sum(), exact)


@pytest.mark.parametrize("rho", [-1e4, 1e4])
def test_diagnostics_stay_finite(rho: float) -> None:
    pi = torch.full((1, 1), rho)
    zero = torch.zeros(1, 1)
    found = losses.preference_diagnostics(pi[0], pi, zero[0], zero, everything(pi))
    assert all(value.isfinite() for value in found.values())
