from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from recbench.comparison import power, significance, table_pairs
from recbench.comparison.power import Components, Seeds

PARTS = Components(0.04, (Seeds(1e-5, 0.02), Seeds(2e-5, 0.03)))


def test_the_components_of_a_table_without_interaction() -> None:
    # seed means 0.2 and 0.4: variance 0.02; the users' differences 0, 0.2, 0.4: variance 0.04
    a, b = np.array([[0.0, 0.2, 0.4], [0.2, 0.4, 0.6]]), np.full((1, 3), 0.1)
    found = power.components(table_pairs.moments([a, b]))[0, 1]
    assert found.users == pytest.approx(0.04)
    assert found.seeds[0].between == pytest.approx(0.02)
    assert found.seeds[0].within == pytest.approx(0.0, abs=1e-30)
    assert found.seeds[0].rows == 1
    assert len(found.seeds) == 1  # b has no seeds


def test_the_components_are_those_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    users, seeds = 2000, 200
    a = rng.normal(0, 0.2, users) + rng.normal(0, 0.05, (seeds, 1)) + rng.normal(0, 0.3, (seeds, users))
    found = power.components(table_pairs.moments([a, np.zeros((1, users))]))[0, 1]
    assert found.users == pytest.approx(0.2**2, rel=0.1)
    assert found.seeds[0].between == pytest.approx(0.05**2, rel=0.25)
    assert found.seeds[0].within == pytest.approx(0.3**2, rel=0.02)


def test_the_rows_of_a_block_know_a_seed_variance_better() -> None:
    rng = np.random.default_rng(2)
    rows = [rng.normal(0, 0.05, (40, 1)) + rng.normal(0, 0.1, (40, 500)) for _ in range(5)]
    found = power.components(table_pairs.moments(rows))[0, 1]
    # a side that varies more than its block keeps less than the five rows, both less than they could
    assert found.one_pool
    assert max(seeds.rows for seeds in found.seeds) == pytest.approx(5, rel=0.2)
    assert min(seeds.between for seeds in found.seeds) == pytest.approx(0.05**2, rel=0.3)


@pytest.mark.parametrize(("degrees", "alpha"), [(2, 0.05), (4.5, 0.01), (30, 0.05 / 45), (1e6, 0.05)])
def test_the_power_of_a_t_is_that_of_the_noncentral_t(degrees: float, alpha: float) -> None:
    critical = stats.t.ppf(1 - alpha / 2, degrees)
    for shift in (0.5, 2.0, 3.5):
        theirs = stats.nct.sf(critical, degrees, shift) + stats.nct.cdf(-critical, degrees, shift)
        assert power.found_with(shift, degrees, alpha) == pytest.approx(theirs, abs=2e-5)
    assert power.found_with(0.0, degrees, alpha) == pytest.approx(alpha, abs=2e-5)


@pytest.mark.parametrize(("degrees", "alpha"), [(2, 0.05), (4, 0.05 / 19), (8, 0.05 / 45)])
def test_the_smallest_difference_is_found_in_four_of_five_draws(degrees: int, alpha: float) -> None:
    rng = np.random.default_rng(1)
    true = power.smallest_difference(0.01, degrees, alpha=alpha)
    errors = 0.01 * np.sqrt(rng.chisquare(degrees, 40_000) / degrees)
    found = 2 * stats.t.sf(np.abs(rng.normal(true, 0.01, 40_000)) / errors, degrees) <= alpha
    assert found.mean() == pytest.approx(0.8, abs=0.008)  # four Monte-Carlo standard errors


@pytest.mark.parametrize("degrees", [4, 9, 49])
def test_the_smallest_difference_agrees_with_statsmodels(degrees: int) -> None:
    # in units of the standard error: statsmodels' effect size times the root of the sample
    theirs = TTestPower().solve_power(nobs=degrees + 1, alpha=0.05, power=0.8) * np.sqrt(degrees + 1)
    assert power.smallest_difference(1.0, degrees) == pytest.approx(theirs, rel=1e-4)


def test_the_range_is_that_of_a_variance_known_from_few_seeds() -> None:
    # chi-square at 4 degrees: 10 % below 1.0636, 90 % below 7.7794
    low, high = power.smallest_range(0.01, 4)
    whole = power.smallest_difference(0.01, 4)
    assert (low / whole, high / whole) == pytest.approx(((4 / 7.7794) ** 0.5, (4 / 1.0636) ** 0.5), rel=1e-4)


def test_the_cheapest_pair_reaches_the_power_and_no_other_costs_less() -> None:
    seeds, users = power.cheapest(0.008, PARTS) or (0, 0)
    assert power.power(0.008, PARTS, num_seeds=seeds, num_users=users) >= 0.8
    for other in range(2, 40):
        needed = power.users_needed(0.008, PARTS, num_seeds=other)
        assert needed is None or other * needed >= seeds * users
    # neither alone is enough where seeds and users are needed together
    assert power.users_needed(0.004, PARTS, num_seeds=5) is None
    assert power.seeds_needed(0.004, PARTS, num_users=1000) is None
    assert power.cheapest(0.004, PARTS) is not None
    assert power.cheapest(1e-7, PARTS) is None


def test_what_more_seeds_find_is_found_with_the_power() -> None:
    smallest = [power.found_by(PARTS, num_seeds=seeds, num_users=10_000) for seeds in (5, 10, 20)]
    assert smallest == sorted(smallest, reverse=True)
    assert power.power(smallest[1], PARTS, num_seeds=10, num_users=10_000) == pytest.approx(0.8, abs=1e-6)


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
