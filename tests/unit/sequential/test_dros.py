"""DROS's network and DLLM2Rec's losses and negatives, as the published programs have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recbench.data import Ragged
from recbench.llm.signals.dllm2rec import distillation, padded, unseen_negatives
from recbench.sequential.dros import DROSModel
from recbench.sequential.params import DLLM2RecParams, DROSParams

Array = NDArray[np.float64]
NUM_ITEMS, WIDTH = 6, 4


def network(*, heads: int = 1, layers: int = 1) -> DROSModel:
    torch.manual_seed(0)
    params = DROSParams(dim=WIDTH, inner=5, heads=heads, layers=layers)
    model = DROSModel(params, num_items=NUM_ITEMS, history=8).double().eval()
    for parameter in model.parameters():  # norms and biases too, so that none of them is idle
        torch.nn.init.normal_(parameter)
    return model


def numbers(module: Any) -> tuple[Array, Array]:
    return module.weight.detach().numpy(), module.bias.detach().numpy()


def norm(x: Array, module: Any) -> Array:
    weight, bias = numbers(module)
    middle, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    found: Array = (x - middle) / np.sqrt(variance + 1e-5) * weight + bias
    return found


def linear(x: Array, module: Any) -> Array:
    weight, bias = numbers(module)
    return x @ weight.T + bias


def states_by_hand(model: DROSModel, items: list[int]) -> Array:
    """The published formulas, position by position, in NumPy."""
    x = model.item.weight.detach().numpy()[items] + model.position.weight.detach().numpy()[: len(items)]
    for block in model.blocks:
        one: Any = block
        queries = norm(x, one.query_norm)
        q, k, v = linear(queries, one.query), linear(x, one.key), linear(x, one.value)
        mixed = np.zeros_like(x)
        size = WIDTH // one.heads
        for head in range(one.heads):
            part = slice(head * size, (head + 1) * size)
            for row in range(len(items)):
                weight = np.exp(k[: row + 1, part] @ q[row, part] / np.sqrt(WIDTH))
                mixed[row, part] = weight / weight.sum() @ v[: row + 1, part]
        y = norm(mixed + queries, one.input_norm)
        x = norm(y + linear(np.maximum(linear(y, one.up), 0), one.down), one.norm)
    return norm(x, model.norm)


@pytest.mark.parametrize(("heads", "layers"), [(1, 1), (2, 1), (1, 2)])
def test_the_network_normalises_queries_alone_and_has_a_relu(heads: int, layers: int) -> None:
    model, items = network(heads=heads, layers=layers), [3, 1, 5, 1]
    found = model(torch.tensor([items]))
    np.testing.assert_allclose(found[0].detach().numpy(), states_by_hand(model, items), atol=1e-10)
    logits = linear(states_by_hand(model, items), model.output)
    np.testing.assert_allclose(model.logits(found)[0].detach().numpy(), logits, atol=1e-10)


def test_items_and_positions_start_where_the_program_starts_them() -> None:
    torch.manual_seed(0)
    model = DROSModel(DROSParams(), num_items=2000, history=50)
    assert model.item.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert model.position.weight.std().item() == pytest.approx(1.0, rel=0.05)
    bound = 1 / 64**0.5  # torch's own start of a linear layer of 64 inputs is uniform up to it
    assert model.output.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert model.output.weight.abs().mean().item() == pytest.approx(bound / 2, rel=0.02)


def test_the_distilled_cross_entropy_counts_whole_beside_the_robust_term() -> None:
    logits = torch.tensor([[0.5, -0.2, 1.0]], dtype=torch.float64)
    weights = torch.tensor([0.9, 0.8, 0.95], dtype=torch.float64)
    teacher, negative = torch.tensor([[2]]), torch.tensor([0])
    one = torch.ones(1, 1, dtype=torch.float64)
    # softplus(-1) + softplus(0.5) = 0.313262 + 0.974077; the robust term of item 2 is 1.189318
    found = distillation(logits, teacher, one, negative, weights, alpha=0.1, beta=1.0)
    assert found.item() == pytest.approx(0.313262 + 0.974077 + 0.1 * 1.189318, abs=1e-6)


def test_the_weights_are_those_of_the_published_command() -> None:
    assert DROSParams().alpha == 0.5
    student = DLLM2RecParams()
    assert (student.alpha, student.embedding_weight, student.distillation) == (0.5, 0.3, 0.7)
    assert (DROSParams().weight_decay, student.weight_decay) == (1e-6, 0.0)


def test_a_students_negative_is_neither_target_nor_seen_and_all_others_are_as_likely() -> None:
    histories = padded(Ragged.of([[1, 4, 1], [2], []])).repeat(3000, 1)
    target = torch.tensor([4, 0, 5]).repeat(3000)
    drawn = unseen_negatives(target, histories, NUM_ITEMS, torch.Generator().manual_seed(0))
    for row, free in enumerate(([0, 2, 3, 5], [1, 3, 4, 5], [0, 1, 2, 3, 4])):
        counts = torch.bincount(drawn[row::3], minlength=NUM_ITEMS)
        assert counts.nonzero().flatten().tolist() == free
        expected = 3000 / len(free)
        assert (counts[free] - expected).abs().max() < 5 * expected**0.5


def test_a_user_with_every_item_still_has_a_negative() -> None:
    drawn = unseen_negatives(
        torch.tensor([1] * 50), torch.tensor([[0, 2, 3]] * 50), 4, torch.Generator().manual_seed(0)
    )
    assert set(drawn.tolist()) == {0, 2, 3}
