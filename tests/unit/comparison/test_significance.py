from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from recbench.comparison import significance
from recbench.data import Floats
from recbench.errors import CheckError
from recbench.results import metrics


def ndcg(rng: np.random.Generator, num_users: int, hit_rate: float = 0.3) -> Floats:
    ranks = np.where(rng.random(num_users) < hit_rate, rng.integers(1, 11, num_users), 0)
    return metrics.per_request(ranks, "ndcg@10")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_paired_t_agrees_with_scipy(rng: np.random.Generator) -> None:
    a, b = ndcg(rng, 200), ndcg(rng, 200, 0.2)
    ours, theirs = significance.paired_t(a - b), stats.ttest_rel(a, b)
    interval = theirs.confidence_interval(0.95)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))
    assert ours.difference == pytest.approx(a.mean() - b.mean())


def test_paired_t_of_equal_systems_is_a_tie_without_warning() -> None:
    assert significance.paired_t(np.zeros(5)) == significance.MeanDifference(0.0, 0.0, 4, 0.0, 0.0, 1.0)


def test_paired_t_of_one_constant_difference_is_certain() -> None:
    estimate = significance.paired_t(np.full(7, 0.1))
    assert (estimate.p, estimate.standard_error) == (0.0, 0.0)


def test_the_one_sided_test_agrees_with_scipy(rng: np.random.Generator) -> None:
    a, b = ndcg(rng, 200), ndcg(rng, 200, 0.2)
    estimate = significance.paired_t(a - b)
    assert significance.exceeds(estimate) == pytest.approx(
        stats.ttest_rel(a, b, alternative="greater").pvalue
    )
    swapped = significance.exceeds(significance.paired_t(b - a))
    assert swapped == pytest.approx(1 - significance.exceeds(estimate))


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.2])
def test_equivalence_agrees_with_statsmodels(rng: np.random.Generator, margin: float) -> None:
    a, b = ndcg(rng, 300), ndcg(rng, 300, 0.28)
    ours = significance.equivalence(significance.paired_t(a - b), margin)
    assert ours == pytest.approx(ttost_paired(a, b, -margin, margin)[0])


def test_a_constant_difference_is_equivalent_exactly_within_the_margin() -> None:
    estimate = significance.paired_t(np.full(7, 0.1))
    assert (significance.equivalence(estimate, 0.2), significance.equivalence(estimate, 0.05)) == (0.0, 1.0)


def test_one_user_is_no_sample() -> None:
    with pytest.raises(CheckError, match="at least two users"):
        significance.paired_t(np.array([0.5]))
    with pytest.raises(CheckError, match="at least two users"):
        significance.bootstrap_interval(np.array([0.5]))


def test_sign_flip_approaches_the_exact_permutation_p() -> None:
    differences = np.array([0.5, 0.3, -0.1, 0.5, 0.0, 0.2, 0.3])
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=7)
    ]
    exact = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9)
    sampled = significance.sign_flip(differences, resamples=200_000)
    assert sampled == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 200_000))


def test_sign_flip_counts_the_observed_order_among_its_resamples() -> None:
    # 40 equal differences: the observed sum is as extreme as any, the chance of another such is 2^-39
    assert significance.sign_flip(np.full(40, 0.3), resamples=999) == 1 / 1000


def test_sign_flip_of_a_sum_of_zero_is_one() -> None:
    assert significance.sign_flip(np.array([0.1, 0.2, -0.3, 0.7, -0.7])) == 1.0
    assert significance.sign_flip(np.zeros(3)) == 1.0


@given(st.lists(st.sampled_from([-0.5, -0.2, 0.0, 0.1, 0.5]), min_size=1, max_size=30))
def test_sign_flip_ignores_zeros_and_which_system_comes_first(values: list[float]) -> None:
    differences = np.array(values)
    p = significance.sign_flip(differences, resamples=200)
    assert p == significance.sign_flip(np.concatenate([differences, np.zeros(9)]), resamples=200)
    assert p == significance.sign_flip(-differences, resamples=200)
    assert 1 / 201 <= p <= 1


def test_bootstrap_interval_agrees_with_scipy(rng: np.random.Generator) -> None:
    values = ndcg(rng, 300) - ndcg(rng, 300)
    ours = significance.bootstrap_interval(values, resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    low, high = theirs.confidence_interval
    # the Monte-Carlo error of a 2.5 % quantile of 20,000 draws is about 0.02 standard errors
    assert ours == pytest.approx((low, high), abs=0.08 * theirs.standard_error)


def test_a_bootstrap_of_all_distinct_users_has_the_variance_of_the_mean(rng: np.random.Generator) -> None:
    values = rng.normal(1.0, 2.0, size=2500) * (rng.random(2500) < 0.9)
    assert len(np.unique(values)) > significance.MANY_DISTINCT
    low, high = significance.bootstrap_interval(values, resamples=2000)
    error = values.std() / math.sqrt(len(values))
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.2 * error)
    assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.1)


def test_draws_depend_on_the_seed_alone(rng: np.random.Generator) -> None:
    values = ndcg(rng, 100)
    assert significance.bootstrap_interval(values, seed=3) == significance.bootstrap_interval(values, seed=3)
    assert significance.bootstrap_interval(values, seed=3) != significance.bootstrap_interval(values, seed=4)


def test_unequal_numbers_of_runs_cannot_share_seeds(rng: np.random.Generator) -> None:
    with pytest.raises(CheckError, match="3 and 2 runs cannot share"):
        significance.crossed_t(rng.random((3, 9)), rng.random((2, 9)), joint=True)


def test_crossed_t_adds_the_variances_of_users_and_seeds() -> None:
    a = np.array([[0.0, 0.2, 0.4], [0.2, 0.4, 0.6]])  # seed means 0.2 and 0.4, no interaction
    b = np.array([[0.1, 0.1, 0.1]])
    estimate = significance.crossed_t(a, b)
    # users' differences 0, 0.2, 0.4: variance 0.04 over 3; seed means: variance 0.02 over 2
    users, seeds = 0.04 / 3, 0.02 / 2
    error = math.sqrt(users + seeds)
    degrees = (users + seeds) ** 2 / (users**2 / 2 + seeds**2 / 1)
    assert estimate.difference == pytest.approx(0.2)
    assert estimate.standard_error == pytest.approx(error)
    assert estimate.degrees == pytest.approx(degrees)
    assert estimate.p == pytest.approx(2 * stats.t.sf(0.2 / error, degrees))


def test_the_interaction_of_user_and_seed_is_counted_once() -> None:
    a = np.array([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]])
    b = np.zeros((1, 4))
    # seed means 1/2 and 3/4: variance 1/32, over 2 seeds 1/64. Residuals from the means are
    # (-3, 5, -3, 1)/8 and the opposite: squares sum to 2 * 44/64, over 3 degrees 11/24, over 8 cells 11/192,
    # more than 1/64, so that the seeds add nothing. Users' means 1/2, 1/2, 1/2, 1: variance 1/16, over 4.
    assert significance.crossed_t(a, b).standard_error == pytest.approx(math.sqrt(1 / 64))


def test_crossed_t_of_one_run_each_is_the_paired_t(rng: np.random.Generator) -> None:
    a, b = ndcg(rng, 50), ndcg(rng, 50)
    crossed, paired = significance.crossed_t(a[None, :], b[None, :]), significance.paired_t(a - b)
    assert crossed.p == pytest.approx(paired.p)
    assert (crossed.low, crossed.high) == pytest.approx((paired.low, paired.high))


def test_a_shared_seed_effect_cancels_only_when_seeds_are_joint(rng: np.random.Generator) -> None:
    seeds = np.array([[0.0], [0.3], [0.6]])
    users = rng.random((1, 40)) * 0.1
    a, b = seeds + users + 0.05, seeds + rng.random((1, 40)) * 0.1
    assert significance.crossed_t(a, b, joint=True).p < 0.01
    assert significance.crossed_t(a, b).p > 0.5


def test_crossed_t_seldom_claims_a_difference_of_methods_that_is_not_there() -> None:
    rng = np.random.default_rng(0)
    rejected_crossed = rejected_pooled = 0
    for _ in range(200):
        sides = []
        for _ in range(2):
            rates = np.clip(0.3 + rng.normal(0, 0.03, size=3), 0, 1)
            sides.append(np.stack([ndcg(rng, 400, rate) for rate in rates]))
        a, b = sides
        rejected_crossed += significance.crossed_t(a, b).p < 0.05
        rejected_pooled += significance.paired_t((a - b).reshape(-1)).p < 0.05
    assert rejected_crossed <= 20  # 5 % of 200 is 10; above 20 lies 0.1 % of the binomial
    assert rejected_pooled > 20  # users x seeds taken as independent


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (3, 3), (9, 2), (0, 6), (40, 61)])
def test_mcnemar_agrees_with_statsmodels(only_a: int, only_b: int) -> None:
    a = np.array([1] * only_a + [0] * only_b + [1, 1, 0])
    b = np.array([0] * only_a + [1] * only_b + [1, 1, 0])
    theirs = statsmodels_mcnemar([[2, only_a], [only_b, 1]], exact=True).pvalue if only_a + only_b else 1.0
    assert significance.mcnemar(a, b) == pytest.approx(theirs)
    fewer, number = min(only_a, only_b), only_a + only_b
    mid = 2 * stats.binom.cdf(fewer, number, 0.5) - stats.binom.pmf(fewer, number, 0.5)
    assert significance.mcnemar_mid(a, b) == pytest.approx(mid)


def test_the_mid_p_of_an_equal_number_is_one() -> None:
    # one user each way: P(0) + P(1) / 2 = 1/4 + 1/4, twice; one against none: P(0) / 2 = 1/4, twice
    assert significance.mcnemar_mid(np.array([1, 0]), np.array([0, 1])) == 1.0
    assert significance.mcnemar_mid(np.array([1, 0]), np.array([0, 0])) == 0.5


@given(st.lists(st.floats(0, 1) | st.sampled_from((0.001, 0.01, 0.04)), min_size=1, max_size=20))
def test_holm_is_the_largest_of_the_smaller_p_times_the_hypotheses_left(p_values: list[float]) -> None:
    def left(p: float) -> int:
        return sum(other >= p for other in p_values)

    expected = [min(1.0, max(left(q) * q for q in p_values if q <= p)) for p in p_values]
    assert significance.holm(p_values) == pytest.approx(expected)


@pytest.mark.parametrize(
    "p_values", [(0.5,), (0.04, 0.01, 0.03, 0.005), (0.01, 0.9, 0.01, 0.02, 0.9, 0.0, 1.0)]
)
def test_holm_agrees_with_statsmodels(p_values: tuple[float, ...]) -> None:
    assert significance.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_of_no_tests_is_empty() -> None:
    assert significance.holm([]) == []


def test_effect_size_is_the_mean_over_the_standard_deviation() -> None:
    # mean 0.2; deviations -0.2, 0, 0.2: variance 0.08 / 2 = 0.04
    assert significance.effect_size(np.array([0.0, 0.2, 0.4])) == pytest.approx(0.2 / 0.2)
    assert significance.effect_size(np.zeros(3)) is None


@pytest.mark.parametrize(("num_tests", "resamples"), [(1, 10_000), (2, 10_000), (28, 112_000)])
def test_more_tests_need_more_permutations(num_tests: int, resamples: int) -> None:
    assert significance.permutations(num_tests) == resamples
