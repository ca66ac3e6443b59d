from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from recbench.comparison import power, significance
from recbench.comparison.power import Components, Seeds

PARTS = Components(0.04, (Seeds(1e-5, 0.02), Seeds(2e-5, 0.03)))


def test_the_components_of_a_table_without_interaction() -> None:
    # seed means 0.2 and 0.4: variance 0.02; the users' differences 0, 0.2, 0.4: variance 0.04
    a, b = np.array([[0.0, 0.2, 0.4], [0.2, 0.4, 0.6]]), np.full((1, 3), 0.1)
    found = power.components(a, b)
    assert found.users == pytest.approx(0.04)
    assert found.seeds[0].between == pytest.approx(0.02)
    assert found.seeds[0].within == pytest.approx(0.0, abs=1e-30)
    assert len(found.seeds) == 1  # b has no seeds


def test_the_components_are_those_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    users, seeds = 2000, 200
    a = rng.normal(0, 0.2, users) + rng.normal(0, 0.05, (seeds, 1)) + rng.normal(0, 0.3, (seeds, users))
    found = power.components(a, np.zeros((1, users)))
    assert found.users == pytest.approx(0.2**2, rel=0.1)
    assert found.seeds[0].between == pytest.approx(0.05**2, rel=0.25)
    assert found.seeds[0].within == pytest.approx(0.3**2, rel=0.02)


def test_without_seeds_it_is_the_power_of_the_paired_t() -> None:
    parts = Components(0.04, ())
    for num_users in (20, 400):
        ours = power.power(0.03, parts, num_seeds=1, num_users=num_users)
        assert ours == pytest.approx(TTestPower().power(0.03 / 0.2, num_users, 0.05), abs=1e-6)
    needed = TTestPower().solve_power(effect_size=0.03 / 0.2, alpha=0.05, power=0.8)
    assert power.users_needed(0.03, parts, num_seeds=5) == np.ceil(needed)


def test_the_power_is_how_often_the_test_finds_the_difference() -> None:
    rng = np.random.default_rng(3)
    parts = Components(0.05**2, (Seeds(0.01**2, 0.1**2), Seeds(0.01**2, 0.1**2)))
    found = 0
    for _ in range(400):
        users = rng.normal(0, 0.05, 300)
        sides = [rng.normal(0, 0.01, (6, 1)) + rng.normal(0, 0.1, (6, 300)) for _ in range(2)]
        found += significance.crossed_t(sides[0] + users + 0.02, sides[1]).p < 0.05
    predicted = power.power(0.02, parts, num_seeds=6, num_users=300)
    assert 0.5 < predicted < 0.95
    assert found / 400 == pytest.approx(predicted, abs=0.08)  # three standard errors of 400 draws and a bit


def test_needed_numbers_are_the_fewest() -> None:
    seeds = power.seeds_needed(0.008, PARTS, num_users=10_000)
    assert seeds is not None
    reached = [power.power(0.008, PARTS, num_seeds=n, num_users=10_000) for n in (seeds - 1, seeds)]
    assert reached[0] < 0.8 <= reached[1]
    users = power.users_needed(0.01, PARTS, num_seeds=5)
    assert users is not None
    reached = [power.power(0.01, PARTS, num_seeds=5, num_users=n) for n in (users - 1, users)]
    assert reached[0] < 0.8 <= reached[1]


def test_a_family_of_tests_needs_more() -> None:
    alone, of_ten = (
        power.seeds_needed(0.008, PARTS, num_users=10_000, alpha=alpha) for alpha in (0.05, 0.005)
    )
    assert alone is not None
    assert of_ten is not None
    assert of_ten > alone


def test_no_number_of_users_makes_up_for_seeds_that_vary_more_than_the_difference() -> None:
    assert power.users_needed(0.001, PARTS, num_seeds=5) is None
    assert power.seeds_needed(0.001, PARTS, num_users=1000) is None
