"""RosePO in both forms, and the smoothing of a pair by an oracle's scores."""

from __future__ import annotations

import pytest
import torch

from recbench.llm.losses import preference
from recbench.llm.losses.preference import RosePOForm
from tests.unit.llm.losses.conftest import random_batch, rosepo, tensor


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
    loss = rosepo(tensor(h), zero, zero, zero, 1.0, tensor(epsilon), form)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_smoothing_is_the_oracles_preference_for_the_rejected_item() -> None:
    # σ(1 - 2) = 0.268941, and 0.620957 + 0.268941 * 0.15 = 0.661298
    smoothing = preference.oracle_smoothing(tensor(2.0), tensor(1.0), 1.0)
    assert smoothing.tolist() == pytest.approx([0.268941], abs=1e-6)
    zero = tensor(0.0)
    loss = rosepo(tensor(0.15), zero, zero, zero, 1.0, smoothing)
    assert loss.item() == pytest.approx(0.661298, abs=1e-6)


def test_smoothing_stops_below_one_half() -> None:
    # an oracle that prefers the rejected item would reverse the pair; a higher temperature doubts more
    s_w, s_l = tensor(0.0, 900.0, 2.0), tensor(5.0, 0.0, 0.0)
    assert preference.oracle_smoothing(s_w, s_l, 1.0).tolist() == pytest.approx(
        [0.49, 0.0, 0.119203], abs=1e-6
    )
    assert preference.oracle_smoothing(s_w, s_l, 2.0)[2].item() == pytest.approx(0.268941, abs=1e-6)
    assert preference.oracle_smoothing(s_w, s_l, 1.0, limit=0.1).tolist() == pytest.approx([0.1, 0.0, 0.1])


@pytest.mark.parametrize(("temperature", "limit"), [(0.0, 0.49), (-1.0, 0.49), (1.0, 0.5), (1.0, -0.1)])
def test_smoothing_that_could_reverse_a_pair_is_refused(temperature: float, limit: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        preference.oracle_smoothing(tensor(1.0), tensor(0.0), temperature, limit)


def test_no_gradient_reaches_the_oracle() -> None:
    batch = random_batch(5, k=1)
    scores = tensor(1.0, 0.0, 2.0, -1.0).requires_grad_()
    assert not preference.oracle_smoothing(scores, torch.zeros_like(scores), 1.0).requires_grad
    inputs = [batch[0].requires_grad_(), scores]
    loss = rosepo(batch[0], batch[1][:, 0], batch[2], batch[3][:, 0], 0.5, scores.sigmoid() / 2)
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    assert [gradient is None for gradient in gradients] == [False, True]


def test_an_uncertain_pair_stops_pulling_at_its_log_odds() -> None:
    # ε = 0.25: log(0.75 / 0.25) = 1.098612
    h, zero = tensor(1.098612).requires_grad_(), tensor(0.0)
    loss = rosepo(h, zero, zero, zero, 1.0, tensor(0.25))
    assert torch.autograd.grad(loss, h)[0].item() == pytest.approx(0, abs=1e-6)
