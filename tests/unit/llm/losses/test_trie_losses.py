"""MSL, BEAR, IGD's and CFT's losses on a catalogue of five items: ab$, ac$, a$, bde$, c$.

Tokens (a, b, c, d, e, $) are 0..5; training counts 3, 1, 2, 2, 2.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from recbench.errors import DataError
from recbench.llm.items.edges import decides
from recbench.llm.items.trie import Trie
from recbench.llm.losses.tokens import token_ce, token_logp
from recbench.llm.losses.trie import (
    NOTHING,
    TAU_MOST,
    adaptive_tau,
    child_ce,
    first_tokens,
    position_weights,
    raw_tau,
    weighted_mean,
)
from recbench.llm.training.batch import Supervision
from recbench.llm.training.counterfactual import CounterfactualLoss
from recbench.llm.training.trie_loss import (
    Over,
    TrieCrossEntropy,
    WeightedCrossEntropy,
    children_at,
    nodes_at,
)
from tests.unit.llm.losses.conftest import DOUBLE, tensor

ITEMS = [[0, 1, 5], [0, 2, 5], [0, 5], [1, 3, 4, 5], [2, 5]]
COUNTS = np.array([3, 1, 2, 2, 2])
LOGITS = {
    0: [[1, 0.5, -0.5, 2, 0, 0.3], [0.2, 0.8, 1.1, 3, -1, -0.4], [0, 0.5, 0.1, -0.2, 0.3, 1]],
    3: [
        [0.4, 1.2, -0.3, 0, 0.7, 0.1],
        [0.3, 0, 0.9, 0.6, -0.2, 0.5],
        [1, 0.2, 0.4, -0.6, 0.8, 0],
        [0.1, -0.1, 0.2, 0, 0.6, 0.9],
    ],
}


@pytest.fixture
def trie() -> Trie:
    return Trie.build(ITEMS)


def batch(*items: int) -> tuple[Tensor, Supervision]:
    """The logits and the supervision of these targets, one response each."""
    logits = torch.tensor([row for item in items for row in LOGITS[item]], dtype=DOUBLE)
    lengths = [len(ITEMS[item]) for item in items]
    supervision = Supervision(
        position=torch.arange(sum(lengths)),
        label=torch.tensor([token for item in items for token in ITEMS[item]]),
        response=torch.repeat_interleave(torch.arange(len(items)), torch.tensor(lengths)),
        step=torch.cat([torch.arange(length) for length in lengths]),
        columns={"target": torch.tensor(items), "example": torch.arange(len(items))},
    )
    return logits, supervision


def each(trie: Trie, item: int, tau: float = 1.0) -> list[float]:
    logits, supervision = batch(item)
    found = children_at(logits, supervision, trie.tables("cpu"))
    values: list[float] = child_ce(found.logits, found.target, tau).tolist()
    return values


@pytest.mark.parametrize(
    ("item", "tau", "expected"),
    [
        (0, 1.0, [0.604131, 0.974957, 0.0]),
        (3, 1.0, [0.514295, 0.0, 0.0, 0.0]),
        (0, 2.0, [0.811449, 0.997187, 0.0]),
        (3, 2.0, [0.762060, 0.0, 0.0, 0.0]),
    ],
)
def test_cross_entropy_over_the_children_of_each_node(
    trie: Trie, item: int, tau: float, expected: list[float]
) -> None:
    assert each(trie, item, tau) == pytest.approx(expected, abs=1e-6)


def test_cross_entropy_is_that_over_children_less_the_log_of_their_mass(trie: Trie) -> None:
    logits, supervision = batch(0)
    found = children_at(logits, supervision, trie.tables("cpu"))
    mass = (found.logits.logsumexp(1) - logits.logsumexp(1)).exp()
    assert mass.tolist() == pytest.approx([0.338049, 0.213964, 0.314588], abs=1e-6)
    ce = -token_logp(logits, supervision.label)
    assert ce.tolist() == pytest.approx([1.688694, 2.516904, 1.156491], abs=1e-6)
    torch.testing.assert_close(ce, -mass.log() + child_ce(found.logits, found.target))
    deeper, taken = batch(3)
    ce = -token_logp(deeper, taken.label)
    assert ce.tolist() == pytest.approx([1.069202, 1.608168, 1.419840, 1.241610], abs=1e-6)
    both, whole = batch(0, 3)
    assert token_ce(both, whole.label).item() == pytest.approx(1.528701, abs=1e-6)


@pytest.mark.parametrize(
    ("over", "tau", "expected"),
    [
        ("choices", 1.0, 0.697794),
        ("tokens", 1.0, 0.299055),
        ("examples", 1.0, 1.046691),
        ("tokens", 2.0, 0.734485),
    ],
)
def test_msl_as_a_mean_over_choices_tokens_or_examples(
    trie: Trie, over: Over, tau: float, expected: float
) -> None:
    logits, supervision = batch(0, 3)
    objective = TrieCrossEntropy(trie, "cpu", tau=tau, over=over)
    loss, terms = objective(logits, [], supervision)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert list(objective.units(supervision)) == [{"choices": 3, "tokens": 7, "examples": 2}[over]]
    assert terms["choice_share"].item() == pytest.approx(3 / 7)


def test_micro_batches_in_their_shares_of_the_units_give_the_loss_of_the_whole(trie: Trie) -> None:
    objective = TrieCrossEntropy(trie, "cpu")
    total = 0.0
    for item in (0, 3):
        logits, supervision = batch(item)
        total += objective(logits, [], supervision)[0].item() * objective.units(supervision)[0]
    assert total / 3 == pytest.approx(0.697794, abs=1e-6)


def test_gradient_is_nothing_outside_the_children_and_at_a_forced_token(trie: Trie) -> None:
    logits, supervision = batch(0)
    logits.requires_grad_()
    found = children_at(logits, supervision, trie.tables("cpu"))
    (gradient,) = torch.autograd.grad(child_ce(found.logits, found.target).sum(), logits)
    assert gradient[1].tolist() == pytest.approx([0, -0.622791, 0.509178, 0, 0, 0.113613], abs=1e-6)
    assert (gradient[2] == 0).all()
    assert gradient[1][0] == gradient[1][3] == 0


def test_temperature_leaves_the_gradients_size_and_everything_is_finite(trie: Trie) -> None:
    for tau in (1.0, 4.5):
        logits, supervision = batch(0, 3)
        logits = (logits * 1e3).float().requires_grad_()
        loss, _ = TrieCrossEntropy(trie, "cpu", tau=tau)(logits, [], supervision)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() <= 1


def test_with_every_token_valid_and_tau_one_msl_is_sft() -> None:
    whole = Trie.build([[token] for token in range(6)])
    supervision = Supervision(
        position=torch.arange(3),
        label=torch.tensor([0, 1, 5]),
        response=torch.arange(3),
        step=torch.zeros(3, dtype=torch.int64),
        columns={"target": torch.tensor([0, 1, 5])},
    )
    logits = torch.tensor(LOGITS[0], dtype=DOUBLE, requires_grad=True)
    msl, _ = TrieCrossEntropy(whole, "cpu")(logits, [], supervision)
    sft = token_ce(logits, supervision.label)
    assert msl.item() == pytest.approx(sft.item(), abs=1e-12)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (msl, sft)))


def test_a_trie_without_a_choice_is_refused() -> None:
    with pytest.raises(DataError, match="no node of the trie has two children"):
        TrieCrossEntropy(Trie.build([[1, 2], [1, 2]]), "cpu")


FLAT = [[1.2, -0.3, 0.5, 0, -1.1, 0.7, 0.2, -0.4], [0.1, 0.9, -0.6, 0.4, 1.5, -0.2, 0, 0.3]]
PEAKED = [[4, -0.5, 0.2, 0, -0.6, 0.3, 0.1, -0.4], [0.1, 0.2, -0.3, 0.4, 3.5, -0.2, 0, 0.3]]


@pytest.mark.parametrize(
    ("rows", "delta", "variance", "plus", "after"),
    [(FLAT, 1.15, 0.450667, 1.432099, 1.5), (PEAKED, 3.30625, 1.762625, 4.486513, 1.649326)],
)
def test_adaptive_temperature_of_two_first_tokens(
    rows: list[list[float]], delta: float, variance: float, plus: float, after: float
) -> None:
    logits = torch.tensor(rows, dtype=DOUBLE)
    seen = first_tokens(logits, logits[torch.arange(2), torch.tensor([0, 4])])
    mean = seen.total / seen.valid
    assert seen.target / seen.rows - mean == pytest.approx(delta)
    assert (seen.square - seen.valid * mean**2) / (seen.valid - 1) == pytest.approx(variance, abs=1e-6)
    assert raw_tau(delta, variance, math.log(8 / 4)) == pytest.approx(plus, abs=1e-4)
    tau = adaptive_tau(seen)
    assert tau == pytest.approx(max(plus, 1.5), abs=1e-4)
    assert 0.95 * 1.5 + 0.05 * tau == pytest.approx(after, abs=1e-6)
    halves = NOTHING
    for row, target in zip(rows, (0, 4), strict=True):
        one = torch.tensor([row], dtype=DOUBLE)
        halves = halves.plus(first_tokens(one, one[:, target]))
    assert adaptive_tau(halves) == pytest.approx(tau)


def test_the_constant_of_the_adaptive_temperature_and_its_guards() -> None:
    assert math.log(3 * 0.25) == pytest.approx(-0.287682, abs=1e-6)
    assert math.log(256 * 0.25) == pytest.approx(4.158883, abs=1e-6)
    few = torch.tensor([[1.0, 0.0, -1.0]])
    assert adaptive_tau(first_tokens(few, few[:, 0])) == TAU_MOST
    assert raw_tau(2.0, 0.0, 1.0) == 2.0  # Δ / C where all logits are equal; the other root is 0
    low = torch.tensor([[-1.0] + [0.0] * 63])
    assert adaptive_tau(first_tokens(low, low[:, 0])) == 1.5  # a target below the mean


def test_bear_weighs_targets_above_the_second_child_more(trie: Trie) -> None:
    for item, weights, expected in ((0, [1.136332, 1.125000], 0.788615), (3, [1.143055], 0.514295)):
        logits, supervision = batch(item)
        objective = TrieCrossEntropy(trie, "cpu", bear=0.25, bear_width=2)
        loss, _ = objective(logits, [], supervision)
        assert loss.item() == pytest.approx(expected, abs=1e-6)
        values = each(trie, item)[: len(weights)]
        by_hand = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
        assert by_hand == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("beta", "expected"), [(0.1, 1.711003), (0.5, 1.597571), (1.0, 1.528701)])
def test_igd_weighs_tokens_that_decide_nothing_less(trie: Trie, beta: float, expected: float) -> None:
    logits, supervision = batch(0, 3)
    objective = WeightedCrossEntropy(trie, "cpu", np.where(decides(trie, COUNTS), 1.0, beta))
    loss, _ = objective(logits, [], supervision)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert objective.weights(supervision).tolist() == pytest.approx([1, 1, beta, 1, beta, beta, beta])
    assert objective.units(supervision) == pytest.approx([3 + 4 * beta])


def test_weights_of_positions_fall_from_one_to_beta_and_one_token_has_one() -> None:
    step, length = torch.tensor([0, 1, 2, 0]), torch.tensor([3, 3, 3, 1])
    assert position_weights(step, length, 0.25).tolist() == [1, 0.625, 0.25, 1]


def test_nothing_is_the_weighted_mean_of_no_weight() -> None:
    values = tensor(3.0).requires_grad_()
    loss = weighted_mean(values, tensor(0.0))
    (gradient,) = torch.autograd.grad(loss, values)
    assert (loss.item(), gradient.item()) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("beta", "normal", "direct", "total"),
    [(0.25, 0.760396, 0.991140, 0.859510), (0.5, 0.777017, 0.957574, 0.872774)],
)
def test_cft_of_a_response_with_and_without_its_history(
    beta: float, normal: float, direct: float, total: float
) -> None:
    with_history = [[1, 0.2, -0.4, 0.1], [0.3, 1.1, 0, -0.2], [0.5, -0.1, 0.9, 0.2]]
    without = [[0.8, 0.4, -0.1, 0], [0.1, 0.2, 0.3, -0.3], [0.6, 0, 0.1, 0.4]]
    order = torch.tensor([3, 0, 4, 1, 5, 2])  # rows in any order: they meet by example and step
    logits = torch.tensor(with_history + without, dtype=DOUBLE)[order]
    supervision = Supervision(
        position=torch.arange(6),
        label=torch.tensor([0, 1, 2] * 2)[order],
        response=torch.tensor([0, 0, 0, 1, 1, 1])[order],
        step=torch.tensor([0, 1, 2] * 2)[order],
        columns={"slot": torch.tensor([0, 1]), "example": torch.tensor([7, 7])},
    )
    taken = torch.arange(3)
    each = -token_logp(torch.tensor(with_history), taken)
    assert each.tolist() == pytest.approx([0.743125, 0.720145, 0.930109], abs=1e-6)
    effect = -token_logp(torch.tensor(with_history) - torch.tensor(without), taken)
    assert effect.tolist() == pytest.approx([1.157412, 0.809644, 0.779792], abs=1e-6)
    objective = CounterfactualLoss(alpha=0.1, beta=beta)
    loss, terms = objective(logits, [], supervision)
    assert terms["loss_normal"].item() == pytest.approx(normal, abs=1e-6)
    assert terms["loss_direct"].item() == pytest.approx(direct, abs=1e-6)
    assert loss.item() == pytest.approx(total, abs=1e-6)
    assert list(objective.units(supervision)) == pytest.approx([1 + (1 + beta) / 2 + beta])


def test_the_nodes_of_a_batch_are_those_of_its_targets(trie: Trie) -> None:
    _, supervision = batch(0, 3)
    node = nodes_at(supervision, torch.from_numpy(trie.path))
    expected = [*trie.path[0][:3].tolist(), *trie.path[3][:4].tolist()]
    assert node.tolist() == expected
