"""Items with equal codes are told apart by their last code."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from recbench.llm.items.collisions import count_collided, to_the_lowest, to_the_nearest


def test_without_vectors_the_lowest_free_last_code_is_taken() -> None:
    codes = np.array([[0, 1], [0, 1], [0, 0], [0, 1], [1, 1]])
    resolved, moved = to_the_lowest(codes, num_codes=4)
    assert resolved.tolist() == [[0, 1], [0, 2], [0, 0], [0, 3], [1, 1]]
    assert moved == 2


def test_a_prefix_without_a_free_code_goes_on_sharing_and_is_counted() -> None:
    resolved, moved = to_the_lowest(np.array([[0, 0], [0, 0], [0, 0]]), num_codes=2)
    assert resolved.tolist() == [[0, 0], [0, 1], [0, 0]]
    assert moved == 1
    assert count_collided(resolved) == 2


def test_an_item_moves_to_the_free_code_that_is_nearest_to_it() -> None:
    # one level; the codes 0, 1, 2 stand at 0.5, 9.5 and 100, and code 3 is used by nobody
    vectors = np.array([[0.0], [1.0], [9.0], [10.0], [100.0]])
    codes = np.array([[7, 0], [7, 0], [8, 1], [8, 1], [9, 2]])
    flat = vectors - np.array([[0.5], [0.5], [9.5], [9.5], [100.0]])
    resolved, moved = to_the_nearest(codes, vectors, num_codes=4)
    # residuals of the prefixes are -0.5, 0.5, -0.5, 0.5, 0: every code's mean residual is 0, so all are as
    # near; a code that is used is taken before one that is not
    assert flat.sum() == 0
    assert count_collided(resolved) == 0
    assert moved == 2
    assert 3 not in resolved[:, 1]


def test_the_codes_of_a_prefix_are_the_nearest_together() -> None:
    rng = np.random.default_rng(0)
    vectors, column = rng.normal(size=(12, 3)), np.array([0, 0, 0, 1, 2, 3, 0, 1, 2, 3, 4, 4])
    codes = np.stack([np.repeat([0, 1], 6), column], 1)
    residual = vectors - np.repeat([vectors[:6].mean(0), vectors[6:].mean(0)], 6, axis=0)
    centres = np.array([residual[column == code].mean(0) for code in range(5)])
    codes[:4, 0], codes[4:6, 0] = 0, 0
    resolved, _ = to_the_nearest(codes[:], vectors, num_codes=6)

    def cost(rows: list[int], chosen: tuple[int, ...]) -> float:
        return float(((residual[rows] - centres[list(chosen)]) ** 2).sum())

    # six items, five used codes: the unused sixth goes to one of them; the others are an optimum
    first = resolved[:6, 1].tolist()
    assert sorted(first) == list(range(6))
    rows = [row for row in range(6) if first[row] != 5]
    chosen = tuple(first[row] for row in rows)
    assert cost(rows, chosen) == pytest.approx(min(cost(rows, other) for other in permutations(range(5))))


def test_prefixes_without_a_collision_keep_their_codes() -> None:
    codes = np.array([[0, 1], [0, 0], [1, 1], [1, 1]])
    resolved, moved = to_the_nearest(codes, np.array([[5.0], [9.0], [1.0], [2.0]]), num_codes=2)
    assert resolved[:2].tolist() == codes[:2].tolist()
    assert sorted(resolved[2:, 1]) == [0, 1]
    assert moved == 1


def test_more_items_than_codes_share_and_equal_vectors_are_told_apart() -> None:
    resolved, moved = to_the_nearest(np.zeros((5, 1), dtype=np.int64), np.zeros((5, 2)), num_codes=3)
    assert np.bincount(resolved[:, 0]).tolist() == [3, 1, 1]
    assert moved == 2
    assert count_collided(resolved) == 3


@pytest.mark.parametrize("noise", range(5))
def test_the_last_digits_of_vectors_do_not_decide_between_equal_items(noise: int) -> None:
    # 60 items, three of each vector: which of three gets which code is a tie
    rng = np.random.default_rng(7)
    vectors = np.repeat(rng.normal(size=(20, 4)), 3, axis=0)
    codes = np.stack([np.repeat(np.arange(4), 15), np.repeat(rng.integers(0, 6, size=20), 3)], 1)
    others = vectors + 1e-13 * np.random.default_rng(noise).normal(size=vectors.shape)
    resolved, _ = to_the_nearest(codes, vectors, num_codes=16)
    assert to_the_nearest(codes, others, num_codes=16)[0].tolist() == resolved.tolist()
    assert count_collided(resolved) == 0
