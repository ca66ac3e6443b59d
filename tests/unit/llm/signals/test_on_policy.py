"""Rewards and advantages of a model's own beams, and the score of D3's decoding."""

from __future__ import annotations

import math

import pytest
import torch

from recbench.llm.losses.ilrec import d3_token_score
from recbench.llm.signals.on_policy import beam_reward, group_advantages

HIT_AT_1 = torch.tensor([[False, True, False, False]])


def test_beams_above_the_hit_lose_most() -> None:
    # 1/log2(2, 3, 4, 5) = 1, 0.630930, 0.5, 0.430677, in sum 2.561606; the hit keeps 1
    assert beam_reward(HIT_AT_1)[0].tolist() == pytest.approx([-0.390380, 1, -0.195190, -0.168128], abs=1e-6)


def test_advantages_are_standardised_within_the_group() -> None:
    # mean 0.061575, sample standard deviation 0.633403
    result = group_advantages(beam_reward(HIT_AT_1))[0].tolist()
    assert result == pytest.approx([-0.713424, 1.481327, -0.405311, -0.362592], abs=1e-6)


def test_a_group_without_a_hit_gives_no_signal_and_does_not_touch_another() -> None:
    reward = beam_reward(torch.cat([HIT_AT_1, torch.zeros_like(HIT_AT_1)]))
    assert reward[1].tolist() == [0, 0, 0, 0]
    advantages = group_advantages(reward)
    assert advantages[1].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(advantages[:1], group_advantages(beam_reward(HIT_AT_1)))


def test_a_group_of_one_beam_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        group_advantages(torch.ones(3, 1))


def test_guided_score_mixes_the_two_models_logarithms() -> None:
    # 0.75 ln 0.5 + 0.25 ln 0.2 = -0.922220; a token that leads to no item cannot be taken
    logp = torch.tensor([0.5, 0.3], dtype=torch.float64).log()
    score = d3_token_score(logp, torch.tensor([0.2, 0.0], dtype=torch.float64), 0.75)
    assert score.tolist() == pytest.approx([-0.922220, -math.inf], abs=1e-6)


def test_full_guidance_is_the_language_model_alone() -> None:
    logp = torch.tensor([0.5, 0.3]).log()
    assert torch.equal(d3_token_score(logp, torch.tensor([0.2, 0.0]), 1.0), logp)
