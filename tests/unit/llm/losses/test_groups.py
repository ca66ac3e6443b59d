"""Rewards, advantages and losses of groups of responses, by hand; and the score of D3's decoding."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from recbench.llm.losses.groups import (
    MeanOf,
    beam_reward,
    group_advantages,
    group_loss,
    rank_penalty,
    token_kl,
    window_weights,
)
from recbench.llm.losses.tokens import token_ce
from tests.unit.llm.losses.conftest import DOUBLE, tensor

HIT_AT_1 = torch.tensor([[False, True, False, False]])
BY_RANK = [-0.713424, 1.481327, -0.405311, -0.362592]
# four responses of 3, 2, 3 and 1 tokens
LOGP = tensor(-0.5, -1.0, -0.2, -0.8, -0.4, -1.5, -0.3, -0.1, -2.0)
REFERENCE = tensor(-0.6, -0.8, -0.2, -1.0, -0.5, -1.2, -0.4, -0.2, -1.8)
RESPONSE = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
MEANS: tuple[MeanOf, ...] = ("sequence", "token", "gspo")


def test_beams_above_the_hit_lose_most() -> None:
    # 1/log2(2, 3, 4, 5) = 1, 0.630930, 0.5, 0.430677, in sum 2.561606; the hit keeps 1
    assert beam_reward(HIT_AT_1)[0].tolist() == pytest.approx([-0.390380, 1, -0.195190, -0.168128], abs=1e-6)


def test_penalties_are_shares_of_all_places_or_of_the_misses() -> None:
    places = rank_penalty(HIT_AT_1)[0].tolist()
    assert places == pytest.approx([-0.390380, 0, -0.195190, -0.168128], abs=1e-6)
    misses = rank_penalty(HIT_AT_1, "misses")[0].tolist()
    assert misses == pytest.approx([-0.517953, 0, -0.258977, -0.223070], abs=1e-6)
    assert sum(misses) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("reward", "advantages"),
    [
        (beam_reward(HIT_AT_1), BY_RANK),
        (beam_reward(HIT_AT_1, "misses"), [-0.762160, 1.471484, -0.381080, -0.328244]),
        (HIT_AT_1.double(), [-0.499900, 1.499700, -0.499900, -0.499900]),
    ],
    ids=["places", "misses", "rule"],
)
def test_advantages_are_standardised_within_the_group(reward: Tensor, advantages: list[float]) -> None:
    # places: mean 0.061575, sample standard deviation 0.633403
    assert group_advantages(reward)[0].tolist() == pytest.approx(advantages, abs=1e-6)


def test_a_group_of_sixteen_with_a_hit_in_the_first_place() -> None:
    hit = torch.zeros(1, 16, dtype=torch.bool)
    hit[0, 0] = True
    shown = [0, 1, 2, 15]
    reward = beam_reward(hit)
    assert reward[0, shown].tolist() == pytest.approx([1, -0.103329, -0.081887, -0.040067], abs=1e-6)
    advantages = group_advantages(reward)[0, shown].tolist()
    assert advantages == pytest.approx([3.740693, -0.429206, -0.348166, -0.190114], abs=1e-6)
    # (G - 1) / sqrt(G) and -1 / sqrt(G), but for the 1e-4
    assert group_advantages(hit.double())[0, :2].tolist() == pytest.approx([3.748501, -0.249900], abs=1e-6)


def test_a_group_without_a_hit_gives_no_signal_and_does_not_touch_another() -> None:
    reward = beam_reward(torch.cat([HIT_AT_1, torch.zeros_like(HIT_AT_1)]))
    assert reward[1].tolist() == [0, 0, 0, 0]
    advantages = group_advantages(reward)
    assert advantages[1].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(advantages[:1], group_advantages(beam_reward(HIT_AT_1)))


def test_a_group_of_one_beam_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        group_advantages(torch.ones(3, 1))


def test_a_missing_response_leaves_no_trace() -> None:
    hit = torch.tensor([[False, True, False, False, True, True]])
    found = torch.tensor([[True, True, True, True, False, False]])
    reward = beam_reward(hit & found, found=found)
    torch.testing.assert_close(reward[:, :4], beam_reward(HIT_AT_1))
    assert reward[0, 4:].tolist() == [0, 0]
    advantages = group_advantages(reward.masked_fill(~found, 9.0), found)
    assert advantages[0].tolist() == pytest.approx([*BY_RANK, 0, 0], abs=1e-6)


@given(reward=st.floats(-1e6, 1e6), size=st.integers(2, 33))
def test_equal_rewards_have_no_advantage_at_all(reward: float, size: int) -> None:
    """Not even that of a mean which misses by a rounding error, as 0.1 does summed thrice."""
    assert group_advantages(torch.full((1, size), reward, dtype=DOUBLE)).abs().max() == 0
    assert group_advantages(torch.full((1, size), reward)).abs().max() == 0


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=16))
def test_advantages_sum_to_nothing_and_keep_the_order(rewards: list[float]) -> None:
    advantages = group_advantages(tensor(rewards))[0]
    assert advantages.sum().item() == pytest.approx(0, abs=1e-6 * max(1.0, advantages.abs().max().item()))
    order = torch.argsort(tensor(rewards)[0], stable=True)
    assert (advantages[order].diff() >= 0).all()


def test_weights_of_negatives_fall_with_the_distance_to_an_anchor() -> None:
    """lambda is -0.746112: w of rank 1 is exp(-1 + 0.746112) = 0.775779, and all sum to the mass 3."""
    weights = window_weights(8, anchor=2, mass=3)
    w = [0.775779, 1, 0.775779, 0.285393, 0.104990, 0.038624, 0.014209, 0.005227]
    scaled = [2.068743, 2.666667, 2.068743, 0.761048, 0.279974, 0.102997, 0.037890, 0.013939]
    assert weights.tolist() == pytest.approx(scaled, abs=1e-6)
    assert (weights * 3 / 8).tolist() == pytest.approx(w, abs=1e-6)


def test_a_mass_of_all_negatives_weighs_them_alike() -> None:
    assert window_weights(3, anchor=2, mass=3).tolist() == [1, 1, 1]


@given(num=st.integers(2, 40), share=st.floats(0.02, 0.98), anchor=st.integers(1, 9), tau=st.floats(0.05, 20))
def test_weights_of_negatives_have_a_mean_of_one_at_any_mass(
    num: int, share: float, anchor: int, tau: float
) -> None:
    weights = window_weights(num, anchor=anchor, mass=share * num, tau=tau)
    assert weights.sum().item() == pytest.approx(num)
    assert weights.argmax().item() == min(anchor, num) - 1 or weights.max() == weights[min(anchor, num) - 1]
    # before they were scaled the largest was at most 1, and they summed to the mass
    assert (weights * share).max().item() <= 1 + 1e-9


def test_kl_of_four_responses_and_its_gradient() -> None:
    kl = [0.004837, 0.021403, 0, 0.018731, 0.004837, 0.049859, 0.004837, 0.004837, 0.021403]
    assert token_kl(LOGP, REFERENCE).tolist() == pytest.approx(kl, abs=1e-6)
    means = torch.zeros(4, dtype=LOGP.dtype).index_add(0, RESPONSE, token_kl(LOGP, REFERENCE))
    means /= torch.bincount(RESPONSE)
    assert means.tolist() == pytest.approx([0.008747, 0.011784, 0.019845, 0.021403], abs=1e-6)
    logp = LOGP.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(token_kl(logp, REFERENCE).sum(), logp)
    torch.testing.assert_close(gradient, 1 - (REFERENCE - LOGP).exp())


@pytest.mark.parametrize(
    ("mean_of", "beta", "loss"),
    [
        ("sequence", 1e-3, 0.000015),
        ("token", 1e-3, 0.084030),
        ("gspo", 1e-3, 0.000015),
        ("sequence", 0.04, 0.000618),
    ],
)
def test_the_loss_of_a_group_under_each_mean(mean_of: MeanOf, beta: float, loss: float) -> None:
    advantage = tensor(BY_RANK)[0]
    value = group_loss(LOGP, RESPONSE, advantage, beta=beta, reference=REFERENCE, mean_of=mean_of)
    assert value.item() == pytest.approx(loss, abs=1e-6)


def gradient_of(advantage: Tensor, beta: float, **options: object) -> Tensor:
    logp = LOGP.clone().requires_grad_(True)
    loss = group_loss(logp, RESPONSE, advantage, beta=beta, reference=REFERENCE, **options)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(loss, logp)
    return gradient


@pytest.mark.parametrize(
    ("advantage", "gradient"),
    [
        (
            BY_RANK,
            [0.059769, 0.058714, 0.059452, -0.184260, -0.184690, 0.032610, 0.034093, 0.034093, 0.088434],
        ),
        (
            [0.0] * 4,
            [0.000317, -0.000738, 0, 0.000906, 0.000476, -0.001166, 0.000317, 0.000317, -0.002214],
        ),
    ],
    ids=["with a hit", "flat"],
)
def test_gradient_is_that_of_signed_weighted_sft_and_of_the_divergence(
    advantage: list[float], gradient: list[float]
) -> None:
    """-(A + beta (e^d - 1)) / (responses times tokens)."""
    assert gradient_of(tensor(advantage)[0], 0.04).tolist() == pytest.approx(gradient, abs=1e-6)
    assert gradient_of(tensor(advantage)[0], 0.04, mean_of="gspo").tolist() == pytest.approx(
        gradient, abs=1e-6
    )


@pytest.mark.parametrize("mean_of", MEANS)
def test_without_advantage_and_divergence_nothing_moves(mean_of: MeanOf) -> None:
    assert gradient_of(torch.zeros(4, dtype=DOUBLE), 0.0, mean_of=mean_of).abs().max() == 0


def test_an_advantage_of_one_is_supervised_fine_tuning() -> None:
    logits = torch.randn(5, 7, dtype=DOUBLE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    label = torch.tensor([0, 6, 2, 2, 4])
    logp = logits.log_softmax(1).gather(1, label[:, None])[:, 0]
    response = torch.tensor([0, 0, 1, 1, 1])
    loss = group_loss(logp, response, torch.ones(2), beta=0.0, mean_of="token")
    (ours,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (sft,) = torch.autograd.grad(token_ce(logits, label), logits)
    torch.testing.assert_close(ours, sft)


@pytest.mark.parametrize("mean_of", MEANS)
def test_old_weights_equal_to_the_policys_change_neither_loss_nor_gradient(mean_of: MeanOf) -> None:
    advantage = tensor(BY_RANK)[0]
    plain = gradient_of(advantage, 0.04, mean_of=mean_of)
    torch.testing.assert_close(gradient_of(advantage, 0.04, mean_of=mean_of, old=LOGP), plain)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "moves"),
    [
        (1.1, 1.0, -1.1, True),
        (1.5, 1.0, -1.2, False),  # gained enough
        (0.5, 1.0, -0.5, True),  # lost what it should gain
        (0.5, -1.0, 0.8, False),  # lost enough
        (1.5, -1.0, 1.5, True),
    ],
)
def test_a_ratio_beyond_the_clip_pulls_no_further(
    ratio: float, advantage: float, loss: float, moves: bool
) -> None:
    old = tensor(-1.0)
    logp = (old + math.log(ratio)).requires_grad_(True)
    value = group_loss(logp, torch.tensor([0]), tensor(advantage), beta=0.0, old=old, clip=0.2)
    (gradient,) = torch.autograd.grad(value, logp)
    assert value.item() == pytest.approx(loss)
    assert gradient.item() == pytest.approx(-ratio * advantage if moves else 0.0)


def test_the_ratio_of_gspo_is_that_of_the_whole_response() -> None:
    """Log-ratios of 0.5 and -0.3 have a mean of 0.1: each token alone would be clipped, their mean is not."""
    old, logp = tensor(-1.0, -1.0), tensor(-0.5, -1.3)
    response, advantage = torch.tensor([0, 0]), tensor(2.0)
    loss = group_loss(logp, response, advantage, beta=0.0, old=old, mean_of="gspo")
    assert loss.item() == pytest.approx(-2 * math.exp(0.1))
    loss = group_loss(logp, response, advantage, beta=0.0, old=old, mean_of="sequence")
    assert loss.item() == pytest.approx(-(1.2 + math.exp(-0.3)))


def test_responses_that_are_left_out_do_not_count() -> None:
    advantage, kept = tensor(BY_RANK)[0], torch.tensor([True, True, False, False])
    for mean_of in MEANS:
        some = group_loss(
            LOGP, RESPONSE, advantage, beta=0.04, reference=REFERENCE, kept=kept, mean_of=mean_of
        )
        alone = group_loss(
            LOGP[:5], RESPONSE[:5], advantage[:2], beta=0.04, reference=REFERENCE[:5], mean_of=mean_of
        )
        assert some.item() == pytest.approx(alone.item())
    nothing = group_loss(LOGP, RESPONSE, advantage, beta=0.0, kept=torch.zeros(4, dtype=torch.bool))
    assert nothing.item() == 0


@pytest.mark.parametrize("mean_of", MEANS)
def test_gradients_agree_with_finite_differences(mean_of: MeanOf) -> None:
    """Away from the edges of the clip, and with old weights that make some ratios leave it."""
    old = LOGP - tensor(0.05, 0.3, -0.1, -0.4, 0.1, 0.02, -0.15, 0.5, 0.07)
    logp = LOGP.clone().requires_grad_(True)

    def loss(logp: Tensor) -> Tensor:
        return group_loss(
            logp, RESPONSE, tensor(BY_RANK)[0], beta=0.04, reference=REFERENCE, old=old, mean_of=mean_of
        )

    assert gradcheck(loss, (logp,))


@pytest.mark.parametrize("mean_of", MEANS)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("apart", [-1e4, -90.0, 90.0, 1e4])
def test_values_and_gradients_are_finite_however_far_apart_the_weights_are(
    mean_of: MeanOf, dtype: torch.dtype, apart: float
) -> None:
    logp = torch.full((4,), -2.0, dtype=dtype, requires_grad=True)
    far = logp.detach() + apart
    loss = group_loss(
        logp,
        torch.arange(4),
        torch.tensor([-1.0, 1, -1, 1]),
        beta=0.04,
        reference=far,
        old=far,
        mean_of=mean_of,
    )
    (gradient,) = torch.autograd.grad(loss, logp)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
