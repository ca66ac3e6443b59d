"""The losses over tokens, and log-probabilities of whole responses."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from recbench.llm.losses import tokens

DOUBLE = torch.float64


def test_token_logp_and_ce_of_two_positions() -> None:
    # 2 - ln(e^2 + e^0.5 + e^-1) = -0.241311 and 3 - ln(e^0 + e^1 + e^3) = -0.169846; mean 0.205579
    z = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]], dtype=DOUBLE)
    y = torch.tensor([0, 2])
    logp = tokens.token_logp(z, y)
    assert logp.tolist() == pytest.approx([-0.241311, -0.169846], abs=1e-6)
    assert logp.sum().item() == pytest.approx(-0.411157, abs=1e-6)
    assert tokens.token_ce(z, y).item() == pytest.approx(0.205579, abs=1e-6)


def test_token_ce_equals_torch_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 7, generator=generator, dtype=DOUBLE) * 2
    y = torch.randint(7, (4,), generator=generator)
    torch.testing.assert_close(tokens.token_ce(z, y), torch.nn.functional.cross_entropy(z, y))


def test_a_responses_log_probability_is_the_sum_over_its_tokens() -> None:
    # response 0: -1 - 2, response 2: -0.5 - 0.25 - 4; response 1 has no token
    logp = torch.tensor([-1.0, -0.5, -0.25, -2.0, -4.0])
    response = torch.tensor([0, 2, 2, 0, 2])
    assert tokens.sequence_logp(logp, response, 3).tolist() == [-3.0, 0.0, -4.75]


def test_a_responses_log_probability_does_not_depend_on_the_order_of_its_tokens() -> None:
    logp = -torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 1e3
    everything = torch.zeros(1000, dtype=torch.int64)
    total = tokens.sequence_logp(logp, everything, 1)
    assert total.dtype == torch.float32
    assert torch.equal(total, tokens.sequence_logp(logp.flip(0), everything, 1))
    forward, backward = (torch.zeros(1).index_add(0, everything, x) for x in (logp, logp.flip(0)))
    assert not torch.equal(forward, backward)  # what sums in float32 do


def test_gradient_of_a_responses_log_probability_reaches_its_tokens() -> None:
    logp = -torch.rand(5, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    response = torch.tensor([0, 1, 1, 0, 1])
    assert gradcheck(lambda x: tokens.sequence_logp(x, response, 2), (logp.requires_grad_(),))
