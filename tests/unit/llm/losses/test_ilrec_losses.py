"""ILRec's losses on one worked example: V = {a, b, c, d, e}, truth a, k = 2."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from recbench.llm.items.trie import Trie
from recbench.llm.losses import ilrec as losses_ilrec
from recbench.llm.losses import tokens
from recbench.llm.losses.ilrec import ChildRewards, CPDDirection, CPOForm, CRRSpace

A, B, C, D, E = range(5)
Y = torch.tensor([A])
ALPHA, BETA, LAM, MU = 0.1, 0.1, 0.01, 0.05
FORMS: tuple[CPOForm, ...] = get_args(CPOForm)


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


LAYERS = [row(1.5, 2.0, 0.0, -1.0, -2.0), row(3.0, 2.0, 1.0, 0.0, -2.0)]
FINAL = row(4.0, 3.0, 1.0, -0.5, -3.0)

# Items "a b", "a c", "b a", "b c d", "d e" as ids 3, 0, 4, 1, 2, so that trie order is not id order.
# The trie numbers its nodes level by level: 0 root, 1 a, 2 b, 3 d, 4 ab, 5 ac, 6 ba, 7 bc, 8 de, 9 bcd.
ORDER = torch.tensor([3, 0, 4, 1, 2])
MASS = torch.zeros(1, 5, dtype=torch.float64).index_put(
    (torch.tensor(0), ORDER), torch.tensor([0.30, 0.10, 0.25, 0.15, 0.20], dtype=torch.float64)
)
TRIE = Trie.build([[A, C], [B, C, D], [D, E], [A, B], [B, A]]).tables("cpu")


def rewards_at(*nodes: int, mass: Tensor = MASS) -> ChildRewards:
    return losses_ilrec.trie_reward(
        mass, torch.zeros(len(nodes), dtype=torch.int64), torch.tensor(nodes), TRIE
    )


def ensemble() -> Tensor:
    return losses_ilrec.ilrec_ensemble(LAYERS)


def negatives(alpha: float = ALPHA) -> Tensor:
    return losses_ilrec.ilrec_negatives(ensemble(), Y, alpha)


def weights(source: losses_ilrec.WeightSource = "logit") -> Tensor:
    return losses_ilrec.ilrec_weights(ensemble(), negatives(), source)


def total(**changes: object) -> tuple[float, dict[str, float]]:
    settings = {"alpha": ALPHA, "beta": BETA, "lam": LAM, "mu": MU, "rewards": rewards_at(0)} | changes
    loss, terms = losses_ilrec.ilrec_loss(FINAL, LAYERS, Y, **settings)  # type: ignore[arg-type]  # mixed keywords
    return loss.item(), {name: value.item() for name, value in terms.items()}


def test_ensemble_is_the_mean_of_the_layers_logits() -> None:
    torch.testing.assert_close(ensemble(), row(2.25, 2.0, 0.5, -0.5, -2.0))
    assert ensemble().softmax(1)[0].tolist() == pytest.approx(
        [0.492425, 0.383501, 0.085571, 0.031480, 0.007024], abs=1e-6
    )


def test_ensemble_of_no_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one layer"):
        losses_ilrec.ilrec_ensemble([])


@pytest.mark.parametrize(("alpha", "expected"), [(0.1, [B, C]), (0.5, [B]), (0.8, []), (1.2, [])])
def test_negatives_are_the_tokens_above_alpha_times_the_truth(alpha: float, expected: list[int]) -> None:
    # p̂(a) = 0.4924: thresholds 0.0492, 0.2462, 0.3939, 0.5909 against b 0.3835, c 0.0856, d 0.0315
    assert negatives(alpha)[0].nonzero().flatten().tolist() == expected


def test_a_token_as_likely_as_the_truth_is_a_negative_at_alpha_one() -> None:
    assert losses_ilrec.ilrec_negatives(row(1.0, 1.0, 0.9), Y, 1.0).tolist() == [[False, True, False]]


def test_weights_renormalise_the_ensemble_over_the_negatives() -> None:
    # 0.383501 / (0.383501 + 0.085571) = 0.817574
    assert weights()[0].tolist() == pytest.approx([0, 0.817574, 0.182426, 0, 0], abs=1e-6)


def test_weights_of_the_literal_reading_are_almost_uniform() -> None:
    # e^0.383501 / (e^0.383501 + e^0.085571) = 0.573936
    assert weights("prob")[0].tolist() == pytest.approx([0, 0.573936, 0.426064, 0, 0], abs=1e-6)


@pytest.mark.parametrize("source", get_args(losses_ilrec.WeightSource))
def test_weights_are_zero_where_there_is_no_negative(source: losses_ilrec.WeightSource) -> None:
    assert losses_ilrec.ilrec_weights(ensemble(), negatives(0.8), source).tolist() == [[0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("form", "shift", "expected"),
    [
        ("mult", 0, 0.427137),
        ("mult", -5, 0.315315),
        ("mult_pos", 0, 0.427137),
        ("mult_pos", -5, 0.357456),
        ("abs", 0, 0.427137),
        ("abs", -5, 0.404670),
        ("rel_min", 0, 0.510665),
        ("rel_min", -5, 0.510665),
        ("add", 0, 0.379767),
        ("add", -5, 0.379767),
    ],
)
def test_cpo_of_each_form_before_and_after_a_shift_of_all_logits(
    form: CPOForm, shift: float, expected: float
) -> None:
    loss = losses_ilrec.ilrec_cpo(FINAL + shift, Y, weights(), BETA, form)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_cpo_with_the_literal_weights() -> None:
    assert losses_ilrec.ilrec_cpo(FINAL, Y, weights("prob"), BETA).item() == pytest.approx(0.406116, abs=1e-6)


def test_cpo_penalises_negative_logits_less_than_cross_entropy_does() -> None:
    shifted = FINAL - 5
    assert tokens.token_ce(shifted, Y).item() == pytest.approx(0.357456, abs=1e-6)
    assert losses_ilrec.ilrec_cpo(shifted, Y, weights(), BETA) < tokens.token_ce(shifted, Y)


def test_rel_min_hangs_on_the_smallest_logit() -> None:
    z, w = torch.cat([FINAL, row(-40.0)], 1), torch.cat([weights(), row(0.0)], 1)
    assert tokens.token_ce(z, Y).item() == pytest.approx(0.357456, abs=1e-6)
    assert losses_ilrec.ilrec_cpo(z, Y, w, BETA).item() == pytest.approx(0.427137, abs=1e-6)
    assert losses_ilrec.ilrec_cpo(z, Y, w, BETA, "rel_min").item() == pytest.approx(2.602013, abs=1e-6)


def test_gradient_of_cpo_in_the_example() -> None:
    z = FINAL.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses_ilrec.ilrec_cpo(z, Y, weights(), BETA), z)
    assert gradient[0].tolist() == pytest.approx(
        [-0.347626, 0.331782, 0.033681, 0.007247, 0.000595], abs=1e-6
    )
    assert gradient.sum().item() == pytest.approx(0.025679, abs=1e-6)


def test_undetached_weights_would_lower_the_hardest_negative() -> None:
    layers = [logits.clone().requires_grad_() for logits in LAYERS]
    loss, _ = losses_ilrec.ilrec_loss(
        FINAL, layers, Y, alpha=ALPHA, beta=BETA, lam=0, mu=0, detach_weights=False
    )
    (gradient,) = torch.autograd.grad(loss, layers[-1])
    assert gradient[0].tolist() == pytest.approx([0, 0.0066, -0.0066, 0, 0], abs=5e-5)


@pytest.mark.parametrize(
    ("direction", "expected"), [("student_teacher", 0.351705), ("teacher_student", 0.319182)]
)
def test_cpd_of_both_directions(direction: CPDDirection, expected: float) -> None:
    assert losses_ilrec.ilrec_cpd(LAYERS, FINAL, direction).item() == pytest.approx(expected, abs=1e-6)


def test_cpd_sums_the_layers() -> None:
    parts = [losses_ilrec.ilrec_cpd([logits], FINAL).item() for logits in LAYERS]
    assert parts == pytest.approx([0.295480, 0.056225], abs=1e-6)


def test_reward_is_the_share_of_mass_below_each_child() -> None:
    rewards = rewards_at(0, 1, 2, 7)
    result = [
        {int(token): value for token, value, real in zip(tokens, values, mask, strict=True) if real}
        for tokens, values, mask in zip(
            rewards.tokens, rewards.reward.tolist(), rewards.mask.tolist(), strict=True
        )
    ]
    assert result == [
        pytest.approx({A: 0.4, B: 0.4, D: 0.2}),  # 0.30 + 0.10, 0.25 + 0.15, 0.20
        pytest.approx({B: 0.75, C: 0.25}),  # 0.30 / 0.40, 0.10 / 0.40
        pytest.approx({A: 0.625, C: 0.375}),  # 0.25 / 0.40, 0.15 / 0.40
        pytest.approx({D: 1.0}),
    ]


@pytest.mark.parametrize(("space", "expected"), [("literal", 1.485021), ("trie", 0.857456)])
def test_crr_of_both_spaces(space: CRRSpace, expected: float) -> None:
    loss = losses_ilrec.ilrec_crr(FINAL, negatives(), Y, rewards_at(0), space)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_soft_label_is_the_softmax_of_rewards_over_negatives_and_truth() -> None:
    # e^0.4 / (2 e^0.4 + e^0) for a and b, e^0 / (2 e^0.4 + e^0) for c, read off the gradient p - c
    z = FINAL.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses_ilrec.ilrec_crr(z, negatives(), Y, rewards_at(0)), z)
    label = FINAL.softmax(1) - gradient
    assert label[0].tolist() == pytest.approx([0.374487, 0.374487, 0.251026, 0, 0], abs=1e-6)


def test_fifty_negatives_leave_the_truth_little_of_the_soft_label() -> None:
    # e^0.9 / (e^0.9 + 50) = 0.0469
    z = torch.zeros(1, 51, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(1, 51, dtype=torch.bool).index_fill(1, Y, False)
    rewards = ChildRewards(
        torch.tensor([[A]]), torch.tensor([[0.9]], dtype=torch.float64), torch.tensor([[True]])
    )
    (gradient,) = torch.autograd.grad(losses_ilrec.ilrec_crr(z, mask, Y, rewards), z)
    assert 1 / 51 - gradient[0, A].item() == pytest.approx(0.0469, abs=5e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.504905),
        ({"beta": 0.0}, 0.435224),
        ({"lam": 0.0}, 0.501388),
        ({"mu": 0.0, "rewards": None}, 0.430654),
        ({"beta": 0.0, "lam": 0.0}, 0.431707),
        ({"ensemble": "final"}, 0.490045),
    ],
    ids=["whole", "without CPO", "without CPD", "without CRR", "without CPT", "without CNS"],
)
def test_total_of_the_method_and_of_its_ablations(changes: dict[str, object], expected: float) -> None:
    assert total(**changes)[0] == pytest.approx(expected, abs=1e-6)


def test_terms_of_the_whole_loss() -> None:
    # V_N = {b, c}, both with positive final logits
    assert total()[1] == pytest.approx(
        {
            "ce": 0.357456,
            "cpo": 0.427137,
            "cpd": 0.351705,
            "crr": 1.485021,
            "negatives_mean": 2,
            "negatives_p95": 2,
            "negatives_empty_share": 0,
            "negative_logit_share": 0,
        },
        abs=1e-6,
    )


def test_terms_without_cross_layer_negatives() -> None:
    terms = total(ensemble="final")[1]
    assert (terms["cpo"], terms["crr"]) == pytest.approx((0.443655, 0.857456), abs=1e-6)
    assert terms["negatives_mean"] == 1


def test_only_terms_that_count_are_computed() -> None:
    assert set(total(beta=0.0, lam=0.0, mu=0.0)[1]) == {"ce", "cpo"}
    assert not {"cpd", "crr"} & set(total(lam=0.0, mu=0.0)[1])


def test_the_reward_term_needs_rewards() -> None:
    with pytest.raises(ValueError, match="rewards"):
        total(rewards=None)


def test_counts_of_negatives_over_several_positions() -> None:
    # sizes 2, 0, 1; of the three negatives one has a logit below 0
    mask = torch.tensor([[0, 1, 1], [0, 0, 0], [0, 0, 1]], dtype=torch.bool)
    z = torch.tensor([[0.0, 1.0, -1.0], [-5.0, -5.0, -5.0], [0.0, -2.0, 3.0]], dtype=torch.float64)
    counts = {name: value.item() for name, value in losses_ilrec.negative_counts(z, mask).items()}
    assert counts == pytest.approx(
        {
            "negatives_mean": 1.0,
            "negatives_p95": 1.9,  # 0, 1, 2 at place 0.95 * 2 = 1.9
            "negatives_empty_share": 1 / 3,
            "negative_logit_share": 1 / 3,
        }
    )


def test_items_that_share_a_leaf_are_summed() -> None:
    trie = Trie.build([[A], [A], [B]]).tables("cpu")
    mass = torch.tensor([[0.2, 0.3, 0.5]])
    rewards = losses_ilrec.trie_reward(mass, torch.tensor([0]), torch.tensor([0]), trie)
    assert rewards.reward.tolist() == [pytest.approx([0.5, 0.5])]


def test_rewards_keep_masses_that_float32_prefix_sums_would_lose() -> None:
    # "a c" beside "a b" with 1e-9 each, behind 1.0 of other items: float32 sums would give 0 / 0
    mass = torch.tensor([[1e-9, 0.0, 1.0, 3e-9, 0.0]], dtype=torch.float64)  # ids 3 = ab, 0 = ac
    moved = torch.roll(ORDER, 1)  # "d e" first, so that the small masses come after the large one
    trie = replace(TRIE, order=moved, node_lo=TRIE.node_lo + 1, node_hi=TRIE.node_hi + 1)
    rewards = losses_ilrec.trie_reward(mass, torch.tensor([0]), torch.tensor([1]), trie)
    assert rewards.reward.tolist() == [pytest.approx([0.75, 0.25], rel=1e-6)]


def test_a_node_without_mass_has_no_rewards_and_adds_nothing_to_crr() -> None:
    mass = MASS.index_fill(1, ORDER[:2], 0.0)  # nothing left below "a"
    rewards = rewards_at(1, 0, mass=mass)
    assert rewards.mask.tolist() == [[False] * 3, [True] * 3]
    assert rewards.reward[0].tolist() == [0, 0, 0]
    z, y, mask = FINAL.expand(2, 5), Y.expand(2), negatives().expand(2, 5)
    alone = losses_ilrec.ilrec_crr(z[1:], mask[1:], y[1:], rewards_at(0, mass=mass))
    torch.testing.assert_close(losses_ilrec.ilrec_crr(z, mask, y, rewards), alone / 2)


def test_crr_without_negatives_is_cross_entropy() -> None:
    none = torch.zeros(1, 5, dtype=torch.bool)
    for space in get_args(CRRSpace):
        torch.testing.assert_close(
            losses_ilrec.ilrec_crr(FINAL, none, Y, rewards_at(0), space), tokens.token_ce(FINAL, Y)
        )
