"""The prediction interval of one more seed: by hand, and how often it holds one."""

from __future__ import annotations

import numpy as np
import pytest

from recbench.board.paper.prediction import new_seed


def test_two_seeds_by_hand() -> None:
    # variance of 0.10 and 0.12: 0.0002; times 1 + 1/2; t with one degree of freedom 12.706205
    half = 12.706205 * (0.0002 * 1.5) ** 0.5
    assert new_seed(0.11, [np.array([0.10, 0.12])]) == pytest.approx((0.11 - half, 0.11 + half))


def test_nothing_random_is_a_point_and_one_seed_says_nothing() -> None:
    assert new_seed(0.2, []) == (0.2, 0.2)
    assert new_seed(0.2, [np.array([0.1 + 0.1, 0.2])]) == (0.2, 0.2)
    assert new_seed(0.2, [np.array([0.2])]) is None
    assert new_seed(0.1, [np.array([0.2, 0.3]), np.array([0.15])]) is None


@pytest.mark.parametrize("num_parts", [1, 2])
def test_it_holds_the_next_seed_at_its_level(num_parts: int) -> None:
    rng, held, tries = np.random.default_rng(0), 0, 2000
    for _ in range(tries):
        drawn = [rng.normal(size=4) for _ in range(num_parts)]
        signs = (1, -1)[:num_parts]
        mean = float(sum(sign * seeds.mean() for sign, seeds in zip(signs, drawn, strict=True)))
        found = new_seed(mean, drawn)
        assert found is not None
        held += found[0] <= float(sum(sign * rng.normal() for sign in signs)) <= found[1]
    # exact for one part; Satterthwaite's degrees of freedom are close, and rather careful, for two
    assert 0.94 <= held / tries <= 0.97
