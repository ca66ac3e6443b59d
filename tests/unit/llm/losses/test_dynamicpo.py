"""DynamicPO on two worked examples, its clusters, and its edges."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from recbench.llm.losses.dynamic import dynamicpo, find_border, top_cluster
from recbench.llm.losses.pairs import PairBatch
from recbench.llm.losses.preference import dmpo
from tests.unit.llm.losses.conftest import DOUBLE, batch_of, tensor

REF_L = [-4.0, -4.0, -8.0, -11.0]
ABOVE, BELOW = [-3.5, -4.5, -9.0, -12.0], [-4.6, -5.0, -9.0, -12.0]


def worked(pi_l: list[float]) -> PairBatch:
    return batch_of(tensor(-4.0), tensor(pi_l), tensor(-5.0), tensor(REF_L))


@pytest.mark.parametrize(
    ("pi_l", "border", "strength", "loss", "of_dmpo"),
    [
        (ABOVE, [True, False, False, False], [0.561383], 0.562618, 0.201413),
        (BELOW, [True, True, False, False], [0.595682, 0.619203], 0.288399, 0.139387),
    ],
)
def test_the_border_its_strengths_and_the_loss(
    pi_l: list[float], border: list[bool], strength: list[float], loss: float, of_dmpo: float
) -> None:
    pairs = worked(pi_l)
    found = find_border(pairs.pi_w, pairs.pi_l, pairs.mask)
    assert found.chosen[0].tolist() == border
    assert found.strength[0][found.chosen[0]].tolist() == pytest.approx(strength, abs=1e-6)
    assert dynamicpo(pairs, 1.0).item() == pytest.approx(loss, abs=1e-6)
    plain = dmpo(pairs.pi_w, pairs.pi_l, pairs.ref_w, pairs.ref_l, pairs.mask, 1.0).loss
    assert plain.item() == pytest.approx(of_dmpo, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "top"),
    [
        ([-1.0, -1.1, -5.0, -9.0], [True, True, False, False]),
        ([-1.0, -2.0, -3.0], [True, False, False]),
        ([-1.0, -1.0, -3.0], [True, True, False]),  # two distinct values: the largest
        ([-2.0], [True]),
    ],
)
def test_the_top_of_three_clusters_in_one_dimension(values: list[float], top: list[bool]) -> None:
    known = torch.ones(1, len(values), dtype=torch.bool)
    assert top_cluster(torch.tensor([values]), known).tolist() == [top]


def best_cut(values: list[float]) -> list[bool]:
    """The highest of three clusters, by trying every pair of cuts."""
    order = sorted(values)

    def error(part: list[float]) -> float:
        return sum((value - sum(part) / len(part)) ** 2 for value in part)

    cuts = combinations(range(1, len(order)), 2)
    _, start = min(
        cuts, key=lambda cut: error(order[: cut[0]]) + error(order[slice(*cut)]) + error(order[cut[1] :])
    )
    return [value >= order[start] for value in values]


def test_each_example_of_a_batch_is_cut_by_its_own_known_values() -> None:
    random = torch.Generator().manual_seed(0)
    values = torch.randn(200, 7, generator=random, dtype=DOUBLE) * 10
    known = torch.rand(200, 7, generator=random) < 0.8
    known[:, :3] = True
    found = top_cluster(values, known)
    assert not found[~known].any()
    for row, mask, top in zip(values, known, found, strict=True):
        assert top[mask].tolist() == best_cut(row[mask].tolist())


def test_a_missing_response_is_in_no_cluster_and_an_example_without_any_adds_nothing() -> None:
    values, known = torch.tensor([[0.0, -1.0, -5.0]]), torch.tensor([[False, True, True]])
    assert top_cluster(values, known).tolist() == [[False, True, False]]
    pairs = worked(ABOVE)
    two = batch_of(
        pairs.pi_w.repeat(2),
        pairs.pi_l.repeat(2, 1),
        pairs.ref_w.repeat(2),
        pairs.ref_l.repeat(2, 1),
        mask=torch.tensor([[True] * 4, [False] * 4]),
    )
    assert dynamicpo(two, 1.0).item() == pytest.approx(0.562618 / 2, abs=1e-6)


def test_equal_responses_have_the_plain_beta() -> None:
    pairs = batch_of(tensor(-4.0), tensor([-4.0]), tensor(-5.0), tensor([-5.0]))
    assert find_border(pairs.pi_w, pairs.pi_l, pairs.mask).strength.tolist() == [[1.0]]


@pytest.mark.parametrize("pi_l", [ABOVE, BELOW])
def test_only_the_border_has_a_gradient_and_it_is_that_of_finite_differences(pi_l: list[float]) -> None:
    rejected = tensor(pi_l).requires_grad_()

    def loss(values: Tensor) -> Tensor:
        fixed = find_border(tensor(-4.0), tensor(pi_l), torch.ones(1, 4, dtype=torch.bool))
        margins = fixed.strength * (1 - (values - tensor(REF_L)))
        mean = margins.masked_fill(~fixed.chosen, 0.0).sum(1) / fixed.chosen.sum(1)
        return torch.nn.functional.softplus(-mean).mean()

    pairs = batch_of(tensor(-4.0), rejected, tensor(-5.0), tensor(REF_L))
    (gradient,) = torch.autograd.grad(dynamicpo(pairs, 1.0), rejected)
    border = find_border(pairs.pi_w, pairs.pi_l, pairs.mask).chosen
    assert (gradient[~border] == 0).all()
    assert (gradient[border] > 0).all()
    (expected,) = torch.autograd.grad(loss(rejected), rejected)
    torch.testing.assert_close(gradient, expected)
    assert gradcheck(loss, (rejected,))


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_it_is_finite_for_log_ratios_of_ten_thousand(dtype: torch.dtype) -> None:
    far = torch.tensor([[-2e4, -2.0, -1.0, 0.0]], dtype=dtype, requires_grad=True)
    zero = torch.zeros(1, dtype=dtype)
    loss = dynamicpo(batch_of(zero - 5, far, zero, zero[:, None].expand(-1, 4)), 1.0)
    (gradient,) = torch.autograd.grad(loss, far)
    assert loss.isfinite()
    assert gradient.isfinite().all()
