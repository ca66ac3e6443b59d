"""A pair loss is a scalar, and the mean over the examples of its batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recbench.errors import UsageError
from recbench.llm import PairBatch, PairMethod
from recbench.llm.losses.pair_contract import REJECTED, at_once_and_alone
from recbench_methods.dynamicpo import DynamicPO
from recbench_methods.pair_loss import PairLossMethod
from recbench_methods.rosepo import RosePO
from recbench_methods.sdpo import SDPO
from recbench_methods.simpo import SimPO


@pytest.mark.parametrize(
    "method",
    [
        SDPO(num_negatives=3),
        SimPO(),
        DynamicPO(),
        RosePO(smoothing="constant"),
        *(
            PairLossMethod(type_=kind)
            for kind in ("ipo", "cdpo", "robust", "dpo-norm", "apo-zero", "sppo-hard", "kto")
        ),
    ],
    ids=lambda method: str(getattr(method, "type_", type(method).__name__)),
)
def test_the_losses_of_recbench_are_means_over_examples(method: PairMethod) -> None:
    found = at_once_and_alone(method.loss, reference=method.needs_reference)
    assert [count for count, _, _ in found] == list(REJECTED)
    for _, whole, mean in found:
        assert whole == pytest.approx(mean, rel=1e-9)


def test_a_difference_across_examples_is_no_mean() -> None:
    (_, whole, mean), _ = at_once_and_alone(
        lambda pairs: torch.sigmoid(pairs.pi_l[:, :1] - pairs.pi_w).mean(), reference=False
    )
    assert whole != pytest.approx(mean, rel=1e-3)


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (lambda pairs: pairs.rho_w, "it returns a tensor of shape (4,)"),
        (lambda pairs: pairs.rho_w.mean().item(), "it returns a float"),
        (lambda pairs: pairs.rho_w.mean().detach(), "without a gradient"),
    ],
    ids=["shape", "number", "detached"],
)
def test_what_is_no_scalar_with_a_gradient_is_refused(loss: Callable[[PairBatch], Tensor], why: str) -> None:
    with pytest.raises(UsageError, match="no scalar that training can lower") as caught:
        at_once_and_alone(loss, reference=True)
    assert why in caught.value.why
