"""Diagnostics of a preference batch: worked numbers, empty batches, and the estimate of the divergence."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbench.llm.losses import preference
from tests.unit.llm.losses.conftest import DOUBLE, everything, random_batch, tensor


def test_diagnostics_of_two_examples_with_three_rejected_responses() -> None:
    diagnostics = preference.preference_diagnostics(
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
    diagnostics = preference.preference_diagnostics(pi_w, pi_l, ref_w, ref_l, ~everything(pi_l))
    assert [diagnostics[name].item() for name in ("rejected_logp", "margin", "accuracy")] == [0, 0, 0]
    torch.testing.assert_close(diagnostics["displacement"], (pi_w - ref_w).mean())


@given(seed=st.integers(0, 10**6), spread=st.sampled_from([1e-3, 1.0, 100.0]))
def test_divergence_is_never_negative_and_0_only_where_nothing_moved(seed: int, spread: float) -> None:
    pi_w, pi_l, ref_w, ref_l = random_batch(seed, spread=spread)
    mask = everything(pi_l)
    assert preference.preference_diagnostics(pi_w, pi_l, ref_w, ref_l, mask)["kl"] > 0
    assert preference.preference_diagnostics(pi_w, pi_l, pi_w, pi_l, mask)["kl"] == 0


def test_divergence_of_responses_drawn_from_the_reference_is_unbiased() -> None:
    # a vocabulary of three responses: the expectation under the reference is the exact KL(reference ‖ policy)
    reference, policy = tensor(0.5, 0.3, 0.2), tensor(0.2, 0.2, 0.6)
    exact = (reference * (reference / policy).log()).sum()
    none = torch.zeros(1, 0, dtype=DOUBLE)
    each = [
        preference.preference_diagnostics(p[None].log(), none, r[None].log(), none, everything(none))["kl"]
        for p, r in zip(policy, reference, strict=True)
    ]
    torch.testing.assert_close((reference * torch.stack(each)).sum(), exact)


@pytest.mark.parametrize("rho", [-1e4, 1e4])
def test_diagnostics_stay_finite(rho: float) -> None:
    pi = torch.full((1, 1), rho)
    zero = torch.zeros(1, 1)
    result = preference.preference_diagnostics(pi[0], pi, zero[0], zero, everything(pi))
    assert all(value.isfinite() for value in result.values())
