"""Properties of ILRec's losses on random positions, against plain loops, oracles and finite differences."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from recbench.llm.items.trie import Trie
from recbench.llm.losses import ilrec as losses_ilrec
from recbench.llm.losses import tokens
from recbench.llm.losses.ilrec import ChildRewards, CPDDirection, CPOForm, CRRSpace

DOUBLE = torch.float64


def test_a_known_log_softmax_is_used_instead_of_the_logits() -> None:
    z, layers, y = random_case(1)
    logp = z.log_softmax(1)
    assert torch.equal(tokens.token_ce(z, y, logp=logp), tokens.token_ce(z, y))
    assert torch.equal(losses_ilrec.ilrec_cpd(layers, z, logp=logp), losses_ilrec.ilrec_cpd(layers, z))


def random_case(
    seed: int, *, n: int = 4, v: int = 7, spread: float = 2.0
) -> tuple[Tensor, list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(3, n, v, generator=generator, dtype=torch.float64) * spread
    return draw[0], [draw[1], draw[2]], torch.randint(v, (n,), generator=generator)


def random_trie(seed: int, *, v: int) -> tuple[list[tuple[int, ...]], Trie]:
    """Identifiers of random length ending in v - 1, some shared, and their trie."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randint(v - 1, (12, 3), generator=generator).tolist()
    length = torch.randint(1, 4, (12,), generator=generator).tolist()
    names = [(*tokens[:size], v - 1) for tokens, size in zip(draw, length, strict=True)]
    names[5] = names[7]
    return names, Trie.build(names)


def random_rewards(seed: int, n: int, *, v: int) -> ChildRewards:
    """Rewards of n random nodes under random masses."""
    generator = torch.Generator().manual_seed(seed)
    names, trie = random_trie(seed, v=v)
    mass = torch.rand(n, len(names), generator=generator, dtype=DOUBLE)
    nodes = torch.randint(len(trie), (n,), generator=generator)
    return losses_ilrec.trie_reward(mass, torch.arange(n), nodes, trie.tables("cpu"))


def weights_of(layers: list[Tensor], y: Tensor) -> Tensor:
    logits = losses_ilrec.ilrec_ensemble(layers)
    return losses_ilrec.ilrec_weights(logits, losses_ilrec.ilrec_negatives(logits, y, 0.1))


@pytest.mark.parametrize("seed", range(5))
def test_rewards_equal_sums_over_all_items_and_sum_to_one(seed: int) -> None:
    names, trie = random_trie(seed, v=5)
    node = {
        name[:size]: int(trie.path[item, size])
        for item, name in enumerate(names)
        for size in range(len(name))
    }
    mass = torch.rand(2, len(names), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    inner = list(node)
    for example in range(2):
        nodes = torch.tensor([node[prefix] for prefix in inner])
        rewards = losses_ilrec.trie_reward(
            mass, torch.full((len(inner),), example), nodes, trie.tables("cpu")
        )
        torch.testing.assert_close(rewards.reward.sum(1), torch.ones(len(inner), dtype=torch.float64))
        for n, prefix in enumerate(inner):
            real = rewards.mask[n]
            here = _mass_under(mass[example], names, prefix)
            expected = [
                _mass_under(mass[example], names, (*prefix, token)) / here
                for token in rewards.tokens[n][real].tolist()
            ]
            assert rewards.reward[n][real].tolist() == pytest.approx(expected, rel=1e-12)


def _mass_under(mass: Tensor, names: list[tuple[int, ...]], prefix: tuple[int, ...]) -> float:
    return sum(float(mass[i]) for i, name in enumerate(names) if name[: len(prefix)] == prefix)


@pytest.mark.parametrize("space", get_args(CRRSpace))
@pytest.mark.parametrize("seed", range(4))
def test_crr_equals_a_soft_label_written_out_over_the_vocabulary(seed: int, space: CRRSpace) -> None:
    z, layers, y = random_case(seed, n=6)
    rewards = random_rewards(seed, 6, v=7)
    mask = losses_ilrec.ilrec_negatives(losses_ilrec.ilrec_ensemble(layers), y, 0.2)
    logp = z.log_softmax(1)
    expected = 0.0
    for n in range(6):
        real = rewards.mask[n]
        reward = dict(zip(rewards.tokens[n][real].tolist(), rewards.reward[n][real].tolist(), strict=True))
        kept = [v for v in range(7) if v == y[n] or (mask[n, v] and (space == "literal" or v in reward))]
        norm = sum(math.exp(reward.get(v, 0.0)) for v in kept)
        if reward:
            expected -= sum(math.exp(reward.get(v, 0.0)) / norm * float(logp[n, v]) for v in kept) / 6
    assert losses_ilrec.ilrec_crr(z, mask, y, rewards, space).item() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), alpha=st.sampled_from([0.1, 0.5, 0.8, 1.0, 1.2]))
def test_the_log_threshold_gives_the_mask_of_the_probability_rule(seed: int, alpha: float) -> None:
    _, layers, y = random_case(seed)
    logits = losses_ilrec.ilrec_ensemble(layers)
    p = logits.softmax(1)
    by_probability = p >= alpha * p.gather(1, y[:, None])
    by_probability[torch.arange(len(y)), y] = False
    assert torch.equal(losses_ilrec.ilrec_negatives(logits, y, alpha), by_probability)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), source=st.sampled_from(get_args(losses_ilrec.WeightSource)))
def test_weights_sum_to_one_over_the_negatives_or_are_zero(
    seed: int, source: losses_ilrec.WeightSource
) -> None:
    _, layers, y = random_case(seed)
    logits = losses_ilrec.ilrec_ensemble(layers)
    mask = losses_ilrec.ilrec_negatives(logits, y, 0.8)
    w = losses_ilrec.ilrec_weights(logits, mask, source)
    assert (w[~mask] == 0).all()
    torch.testing.assert_close(w.sum(1), mask.any(1).double())


@pytest.mark.parametrize("form", get_args(CPOForm))
def test_cpo_without_beta_or_without_negatives_is_cross_entropy(form: CPOForm) -> None:
    z, layers, y = random_case(0)
    w = weights_of(layers, y)
    assert w.sum() > 0
    torch.testing.assert_close(losses_ilrec.ilrec_cpo(z, y, w, 0.0, form), tokens.token_ce(z, y))
    torch.testing.assert_close(
        losses_ilrec.ilrec_cpo(z, y, torch.zeros_like(w), 0.5, form), tokens.token_ce(z, y)
    )


def test_all_coefficients_zero_is_exactly_cross_entropy() -> None:
    z, layers, y = random_case(1)
    z = z.float().requires_grad_()
    loss, terms = losses_ilrec.ilrec_loss(z, layers, y, alpha=0.1, beta=0, lam=0, mu=0)
    assert loss.item() == tokens.token_ce(z, y).item() == terms["cpo"].item()
    (gradient,) = torch.autograd.grad(loss, z)
    (expected,) = torch.autograd.grad(tokens.token_ce(z, y), z)
    assert torch.equal(gradient, expected)


def test_total_is_the_weighted_sum_of_separately_computed_terms() -> None:
    z, layers, y = random_case(2)
    rewards = random_rewards(2, 4, v=7)
    loss, _ = losses_ilrec.ilrec_loss(
        z, layers, y, alpha=0.3, beta=0.2, lam=0.7, mu=0.6, cpo_form="add", crr_space="trie", rewards=rewards
    )
    logits = losses_ilrec.ilrec_ensemble(layers)
    mask = losses_ilrec.ilrec_negatives(logits, y, 0.3)
    cpo = losses_ilrec.ilrec_cpo(z, y, losses_ilrec.ilrec_weights(logits, mask), 0.2, "add")
    crr = losses_ilrec.ilrec_crr(z, mask, y, rewards, "trie")
    torch.testing.assert_close(loss, cpo + 0.7 * losses_ilrec.ilrec_cpd(layers, z) + 0.6 * crr)


@pytest.mark.parametrize("direction", get_args(CPDDirection))
def test_cpd_equals_the_kl_written_out(direction: CPDDirection) -> None:
    z, layers, _ = random_case(5)
    expected = torch.zeros((), dtype=DOUBLE)
    for logits in layers:
        first, second = (logits, z) if direction == "student_teacher" else (z, logits)
        p, q = first.softmax(1), second.softmax(1)
        expected += (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(losses_ilrec.ilrec_cpd(layers, z, direction), expected)


@pytest.mark.parametrize("form", get_args(CPOForm))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_and_gradients_are_finite_for_logits_up_to_a_thousand(
    form: CPOForm, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    z, first, second = (torch.rand(3, 40, 7, generator=generator, dtype=dtype) * 2000 - 1000).unbind()
    first[0], second[0], z[0] = 1000.0, -1000.0, -1000.0
    y = torch.randint(7, (40,), generator=generator)
    rewards = random_rewards(6, 40, v=7)
    inputs = [t.requires_grad_() for t in (z, first, second)]
    for source in get_args(losses_ilrec.WeightSource):
        for direction in get_args(CPDDirection):
            loss, terms = losses_ilrec.ilrec_loss(
                z,
                [first, second],
                y,
                alpha=0.5,
                beta=1.0,
                lam=1.0,
                mu=1.0,
                weight_source=source,
                cpo_form=form,
                cpd_direction=direction,
                detach_weights=False,
                rewards=rewards,
            )
            assert loss.dtype == dtype
            assert all(value.isfinite() for value in terms.values())
            assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, inputs))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", ["mult", "rel_min"])
def test_gradient_of_cpo_is_the_analytic_one(form: CPOForm, seed: int) -> None:
    # (1 + β w_v) q_v - [v = y], divided by N; the minimum that rel_min subtracts is held fixed
    z, layers, y = random_case(seed)
    w = weights_of(layers, y)
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(losses_ilrec.ilrec_cpo(z, y, w, 0.4, form), z)
    with torch.no_grad():
        shift = z.amin(1, keepdim=True) if form == "rel_min" else 0.0
        expected = (1 + 0.4 * w) * (z + 0.4 * w * (z - shift)).softmax(1)
        expected[torch.arange(len(y)), y] -= 1
    torch.testing.assert_close(gradient, expected / len(y))


@pytest.mark.parametrize("form", [form for form in get_args(CPOForm) if form != "rel_min"])
@pytest.mark.parametrize("source", get_args(losses_ilrec.WeightSource))
def test_gradients_of_cpo_and_its_weights_agree_with_finite_differences(
    form: CPOForm, source: losses_ilrec.WeightSource
) -> None:
    z, layers, y = random_case(3, n=3)
    mask = losses_ilrec.ilrec_negatives(losses_ilrec.ilrec_ensemble(layers), y, 0.1)

    def loss(z: Tensor, first: Tensor, second: Tensor) -> Tensor:
        w = losses_ilrec.ilrec_weights(losses_ilrec.ilrec_ensemble([first, second]), mask, source)
        return losses_ilrec.ilrec_cpo(z, y, w, 0.3, form)

    assert gradcheck(loss, tuple(t.requires_grad_() for t in (z, *layers)))


@pytest.mark.parametrize("direction", get_args(CPDDirection))
def test_gradients_of_cpd_agree_with_finite_differences(direction: CPDDirection) -> None:
    z, layers, _ = random_case(4, n=3)

    def loss(first: Tensor, second: Tensor) -> Tensor:
        return losses_ilrec.ilrec_cpd([first, second], z, direction)

    assert gradcheck(loss, tuple(t.requires_grad_() for t in layers))


@pytest.mark.parametrize("space", get_args(CRRSpace))
def test_gradient_of_crr_agrees_with_finite_differences(space: CRRSpace) -> None:
    z, layers, y = random_case(5, n=5)
    mask = losses_ilrec.ilrec_negatives(losses_ilrec.ilrec_ensemble(layers), y, 0.1)
    rewards = random_rewards(5, 5, v=7)
    assert rewards.mask.any()
    assert gradcheck(lambda z: losses_ilrec.ilrec_crr(z, mask, y, rewards, space), (z.requires_grad_(),))


def test_no_gradient_of_cpo_reaches_the_layers_and_none_of_cpd_the_final_layer() -> None:
    z, layers, y = random_case(6)
    inputs = [t.requires_grad_() for t in (z, *layers)]
    loss, _ = losses_ilrec.ilrec_loss(z, layers, y, alpha=0.1, beta=0.5, lam=0, mu=0)
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    assert [gradient is None for gradient in gradients] == [False, True, True]
    gradients = torch.autograd.grad(losses_ilrec.ilrec_cpd(layers, z), inputs, allow_unused=True)
    assert [gradient is None for gradient in gradients] == [True, False, False]


def test_gradient_of_the_whole_is_the_sum_of_its_terms_gradients() -> None:
    z, layers, y = random_case(7)
    rewards = random_rewards(7, 4, v=7)
    inputs = [t.requires_grad_() for t in (z, *layers)]
    whole, _ = losses_ilrec.ilrec_loss(z, layers, y, alpha=0.3, beta=0.2, lam=0.7, mu=0.6, rewards=rewards)
    mask = losses_ilrec.ilrec_negatives(losses_ilrec.ilrec_ensemble(layers), y, 0.3)
    w = losses_ilrec.ilrec_weights(losses_ilrec.ilrec_ensemble(layers), mask).detach()
    cpo = torch.autograd.grad(losses_ilrec.ilrec_cpo(z, y, w, 0.2), z)[0]
    cpd = torch.autograd.grad(losses_ilrec.ilrec_cpd(layers, z), layers)
    crr = torch.autograd.grad(losses_ilrec.ilrec_crr(z, mask, y, rewards), z)[0]
    expected = [cpo + 0.6 * crr, *(0.7 * gradient for gradient in cpd)]
    torch.testing.assert_close(list(torch.autograd.grad(whole, inputs)), expected)
