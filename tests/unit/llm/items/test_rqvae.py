"""RQ-VAE: codes, losses and gradients by hand, Sinkhorn assignment, and collisions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbench.llm.items.rqvae import (
    RQVAE,
    collision_rate,
    distances_to,
    learning_rate,
    nearest,
    quantise,
    rqvae_codes,
    sinkhorn,
    tell_apart,
    train_rqvae,
)

H = (1.0, 0.5)
BOOKS = ([[0.8, 0.4], [-1.0, 0.0]], [[0.1, 0.1], [0.3, 0.0]])


def worked() -> tuple[torch.Tensor, list[torch.Tensor]]:
    hidden = torch.tensor([H], dtype=torch.float64, requires_grad=True)
    return hidden, [torch.tensor(book, dtype=torch.float64, requires_grad=True) for book in BOOKS]


def test_the_worked_example_has_these_codes_and_this_loss() -> None:
    hidden, books = worked()
    codes, quantised, loss = quantise(hidden, books, [nearest, nearest])
    assert codes.tolist() == [[0, 0]]  # residuals: (0.2, 0.1), then (0.1, 0.0)
    torch.testing.assert_close(quantised.detach(), torch.tensor([[0.9, 0.5]], dtype=torch.float64))
    # level 1: 1.25 (0.04 + 0.01) / 2 = 0.03125; level 2: 1.25 (0.01 + 0) / 2 = 0.00625; their mean
    assert loss.item() == pytest.approx(0.018750, abs=1e-12)


def test_later_residuals_carry_no_gradient() -> None:
    hidden, books = worked()
    _, _, loss = quantise(hidden, books, [nearest, nearest])
    torch.autograd.backward(loss)
    assert hidden.grad is not None
    # only the first level's commitment term: 0.25 * 2 (0.2, 0.1) / 2 dims / 2 levels
    assert hidden.grad[0].tolist() == pytest.approx([0.025, 0.0125], abs=1e-12)
    first, second = (book.grad for book in books)
    assert first is not None
    assert second is not None
    assert first.tolist() == [pytest.approx([-0.1, -0.05], abs=1e-12), [0, 0]]
    assert second.tolist() == [pytest.approx([-0.05, 0.0], abs=1e-12), [0, 0]]


def test_the_decoders_gradient_passes_straight_through_to_the_encoder() -> None:
    hidden, books = worked()
    _, quantised, _ = quantise(hidden, books, [nearest, nearest])
    torch.autograd.backward((quantised * torch.tensor([[2.0, -3.0]])).sum())
    assert hidden.grad is not None
    assert hidden.grad[0].tolist() == [2.0, -3.0]
    assert all(book.grad is None for book in books)


def test_distances_are_squared_and_euclidean() -> None:
    points, centres = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    assert distances_to(points, centres).tolist() == [[0.0, 9.0], [25.0, 16.0]]


def scaled_in_turn(distances: torch.Tensor) -> torch.Tensor:
    """The transport plan as the rule says it: exp(-d / 0.003) with d in [-1, 1], rows and columns in turn."""
    middle = (distances.max() + distances.min()) / 2
    plan = torch.exp(-((distances - middle) / (distances.max() - middle + 1e-5)).double() / 0.003)
    for _ in range(50):
        plan = plan / plan.sum(1, keepdim=True) / len(plan)
        plan = plan / plan.sum(0, keepdim=True) / plan.shape[1]
    return plan


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_sinkhorn_is_the_plan_of_alternating_normalisation_and_nearly_even(scale: float) -> None:
    distances = torch.rand(64, 16, generator=torch.Generator().manual_seed(0)) * scale + scale
    codes = sinkhorn(distances)
    assert codes.tolist() == scaled_in_turn(distances).argmax(1).tolist()
    used = torch.bincount(codes, minlength=16)
    assert used.min() >= 1  # the nearest alone would leave some codes to one point and give others nine
    assert used.max() <= 9


def test_sinkhorn_spreads_points_that_all_lie_nearest_to_one_code() -> None:
    distances = torch.rand(64, 16, generator=torch.Generator().manual_seed(1))
    distances[:, 3] = 0.0
    assert nearest(distances).tolist() == [3] * 64
    assert torch.bincount(sinkhorn(distances), minlength=16).min() >= 1


def points(num: int = 40) -> np.ndarray:
    result: np.ndarray = np.random.default_rng(0).normal(size=(num, 6)).astype(np.float32)
    return result


def test_training_explains_the_vectors_and_equal_seeds_give_equal_codes() -> None:
    vectors = points()
    one, again, other = (
        rqvae_codes(vectors, levels=3, codes=16, hidden=(32,), epochs=epochs, seed=seed)
        for seed, epochs in ((0, 200), (0, 200), (1, 2))
    )
    assert np.array_equal(one.codes, again.codes)
    assert not np.array_equal(one.codes, other.codes)
    assert one.codes.shape == (40, 3)
    assert one.codes.min() >= 0
    assert one.codes.max() < 16
    assert len(np.unique(one.codes, axis=0)) == 40
    variance = ((vectors - vectors.mean(0)) ** 2).sum()
    assert ((vectors - one.reconstruction) ** 2).sum() / variance < 0.3
    assert ((vectors - other.reconstruction) ** 2).sum() / variance > 0.8


def test_the_checkpoint_is_none_of_the_first_half() -> None:
    """The codes that an encoder starts with collide least, and say less of the vectors than their mean."""
    vectors = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    coded = rqvae_codes(vectors, levels=3, codes=64, hidden=(32,), epochs=20, seed=0)
    assert ((vectors - coded.reconstruction) ** 2).sum() < ((vectors - vectors.mean(0)) ** 2).sum()


def test_collided_items_get_new_last_codes_inside_their_group() -> None:
    torch.manual_seed(0)
    model = RQVAE(dim=4, hidden=(8,), levels=2, codes=16)
    for book in model.codebooks:
        torch.nn.init.normal_(book)
    points = torch.randn(5, 4)
    codes = torch.tensor([[3, 1]] * 5)
    apart = tell_apart(model, points, codes)
    assert (apart[:, 0] == 3).all()  # only the last level may change
    assert collision_rate(codes) == pytest.approx(0.8)
    assert collision_rate(apart) == 0.0


def test_a_round_that_collides_more_is_not_kept() -> None:
    """Groups are told apart one by one, so the codes of one meet those of another: 0.75, 0.97, 0.75, .."""
    torch.manual_seed(0)
    model = RQVAE(dim=4, hidden=(8,), levels=2, codes=64)
    for book in model.codebooks:
        torch.nn.init.normal_(book)
    points = torch.randn(4) + 0.01 * torch.randn(60, 4)
    codes = torch.tensor([[3, 1]] * 60)
    rates = [collision_rate(tell_apart(model, points, codes, rounds=rounds)) for rounds in range(5)]
    assert rates == pytest.approx([59 / 60, 0.75, 0.75, 0.75, 0.75])


def test_training_leaves_torchs_random_state_alone() -> None:
    before = torch.get_rng_state()
    rqvae_codes(points(), levels=2, codes=4, hidden=(8,), epochs=2, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_learning_rate_rises_for_fifty_epochs_of_ten_thousand_and_falls_to_zero() -> None:
    rate = learning_rate(rise=50, steps=10_000)
    assert [rate(step) for step in (0, 25, 50, 5025, 10_000)] == [0, 0.5, 1, 0.5, 0]
    assert learning_rate(rise=0, steps=4)(0) == 1  # too short for a warm-up


def test_gradients_are_clipped_to_a_norm_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors a thousand times as large have gradients as large, and yet Adam sees a norm of one at most."""
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def record(self: torch.optim.AdamW, *args: object) -> None:
        weights = [p for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.stack([p.grad.norm() for p in weights]).norm()))
        step(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    torch.manual_seed(0)
    train_rqvae(
        RQVAE(dim=6, hidden=(8,), levels=2, codes=4), torch.from_numpy(1e3 * points()), epochs=3, seed=0
    )
    assert len(norms) == 3
    assert max(norms) == pytest.approx(1.0, abs=1e-4)


def test_the_start_of_a_codebook_is_kmeans_run_to_its_end() -> None:
    """With ten rounds, as before, the centres of this cloud still move."""
    from sklearn.cluster import KMeans

    cloud = np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32)
    model = RQVAE(dim=2, hidden=(), levels=1, codes=32)
    hidden = model.encoder(torch.from_numpy(cloud))
    model.start_codebooks(torch.from_numpy(cloud), seed=0)
    whole, short = (
        KMeans(32, n_init=1, max_iter=rounds, random_state=0).fit(hidden.detach().numpy())
        for rounds in (100, 10)
    )
    found = model.codebooks[0].detach().numpy()
    np.testing.assert_allclose(found, whole.cluster_centers_, atol=1e-6)
    assert np.abs(found - short.cluster_centers_).max() > 1e-3
