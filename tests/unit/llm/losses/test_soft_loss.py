"""SOFT's distance, the weight of self-distilled data, and the mixed loss."""

from __future__ import annotations

import math

import pytest
import torch

from recbench.llm.losses import soft
from recbench.llm.signals.distillation import Distillation
from recbench.llm.training.batch import Supervision
from recbench.llm.training.examples import CHOSEN
from tests.unit.llm.losses.conftest import tensor


def test_distance_is_the_mean_over_outputs() -> None:
    # |(1, 2) - (4, 6)| = 5, |(0, 0) - (0, 2)| = 2
    outputs, targets = tensor([1.0, 2.0], [0.0, 0.0]), tensor([4.0, 6.0], [0.0, 2.0])
    assert soft.soft_distance(outputs, targets).item() == 3.5


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
    result = soft.soft_tau(d_t, 2.0, alpha)
    assert result == pytest.approx((tau, raw), abs=1e-6)
    # one token of the target costs 3 nats and one of the answer 1.4: log(1 + e^a) with a = log(e^cost - 1)
    logits = tensor([0.0, math.log(math.exp(3.0) - 1)], [0.0, math.log(math.exp(1.4) - 1)])
    first, each = torch.zeros(2, dtype=torch.long), torch.arange(2)
    slots = {"slot": torch.tensor([CHOSEN, CHOSEN + 1])}
    supervision = Supervision(position=each, label=first, response=each, step=first, columns=slots)
    objective = Distillation()
    objective.tau = result.tau
    parts, terms = objective(logits, [], supervision)
    assert objective.units(supervision) == [1, 1]
    assert parts.sum().item() == pytest.approx(mixed, abs=1e-6)
    assert (terms["loss_targets"].item(), terms["loss_answers"].item()) == pytest.approx((3.0, 1.4))


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0.1, 0.990050), (1.0, 0.904837), (10.0, 0.367879), (100.0, 0.000045)]
)
def test_alpha_sets_how_fast_distilled_data_loses_its_weight(alpha: float, expected: float) -> None:
    assert soft.soft_tau(0.9, 1.0, alpha).tau == pytest.approx(expected, abs=1e-6)


def test_the_first_epoch_is_pure_distillation_and_no_distance_overflows() -> None:
    assert soft.soft_tau(3.7, 3.7, 10.0) == (1.0, 1.0)
    assert soft.soft_tau(90.0, 1.0, 100.0) == (1.0, math.inf)
    assert soft.soft_tau(0.0, 1.0, 1e4) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("d_t", "d_0"), [(1.0, 0.0), (1.0, -1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, math.nan)]
)
def test_distances_without_a_schedule_are_refused(d_t: float, d_0: float) -> None:
    with pytest.raises(ValueError, match="d_0 > 0"):
        soft.soft_tau(d_t, d_0, 1.0)
