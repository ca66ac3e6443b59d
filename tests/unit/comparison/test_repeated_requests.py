"""Users who ask repeatedly: means are over requests, errors over users. Statsmodels is the oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from recbench.comparison import significance
from recbench.comparison.compare import compare
from recbench.comparison.family import compare_all
from recbench.comparison.rescore import rescore
from recbench.data import Floats, Ints
from recbench.errors import CheckError
from recbench.protocol import REPEATED
from recbench.results.bundle import Bundle
from recbench.results.metrics import by_user
from recbench.results.request_features import request_names, request_numbers

MakeBundle = Callable[..., Bundle]
REPEATEDLY = {"asks": "repeatedly"}


def draw(seed: int, num_users: int = 60, seeds: int = 1) -> tuple[Ints, list[list[list[int]]]]:
    """Each request's user, of whom some ask ten times as often, and ranks of two methods by seed.

    A user's requests are alike."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(num_users), rng.integers(1, 4, num_users) * rng.choice([1, 5], num_users))
    ease = rng.random(num_users)[users]
    sides = [
        [
            np.where(ease + rng.normal(0, 0.2, len(users)) > cut, rng.integers(1, 11, len(users)), 0).tolist()
            for _ in range(seeds)
        ]
        for cut in (0.5, 0.6)
    ]
    return users, sides


def run(make_bundle: MakeBundle, method: str, ranks: Sequence[int], users: Ints, seed: int = 0) -> Bundle:
    return make_bundle(method, ranks, seed=seed, users=[f"u{user}" for user in users], protocol=REPEATEDLY)


def clustered(values: Floats, users: Ints) -> tuple[float, float]:
    """Mean and its standard error by statsmodels: a constant, with errors of clusters."""
    fitted = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": users})
    return float(fitted.params[0]), float(fitted.bse[0])


def test_the_values_of_users_have_the_mean_of_the_requests() -> None:
    # user 0 asks twice: mean 2/3, and 2/3 + 2/3 (1 - 2 * 2/3) = 4/9, 2/3 + 2/3 (1 - 2/3) = 8/9
    found = by_user(np.array([1.0, 0.0, 1.0]), np.array([0, 0, 1]))
    assert found == pytest.approx([4 / 9, 8 / 9])
    error = significance.paired_t(found).standard_error
    assert error == pytest.approx(2 / 9)  # sqrt of 2 / 1 * (1/9 + 1/9) / 3^2
    assert by_user(np.array([3.0, 5.0]), None).tolist() == [3.0, 5.0]


@given(st.integers(0, 999))
def test_the_error_is_that_of_clusters(seed: int) -> None:
    users, [[a], [b]] = draw(seed)
    values = np.array(a, dtype=float) - np.array(b, dtype=float)
    found = significance.paired_t(by_user(values, users))
    assert (found.difference, found.standard_error) == pytest.approx(clustered(values, users))
    assert found.degrees == len(set(users.tolist())) - 1


@given(st.integers(0, 999))
def test_the_map_is_linear_so_seeds_and_differences_keep_their_parts(seed: int) -> None:
    users, sides = draw(seed, seeds=3)
    a, b = (np.array(side, dtype=float) for side in sides)
    assert by_user(a - b, users) == pytest.approx(by_user(a, users) - by_user(b, users))
    assert by_user(a, users).mean(0) == pytest.approx(by_user(a.mean(0), users))
    once = np.random.default_rng(seed).permutation(len(users))  # nobody asks twice, in another order
    assert np.sort(by_user(a, once)) == pytest.approx(np.sort(a))


def test_a_comparison_is_of_requests_and_its_error_of_users(make_bundle: MakeBundle) -> None:
    users, [[a], [b]] = draw(4)
    sides = [run(make_bundle, name, ranks, users) for name, ranks in (("a", a), ("b", b))]
    found = compare([sides[0]], [sides[1]], "hr@10")
    hits = (np.array(a) > 0).astype(float) - (np.array(b) > 0)
    mean, error = clustered(hits, users)
    assert (found.difference, found.standard_error) == pytest.approx((mean, error))
    assert (found.num_users, found.num_requests) == (60, len(users))
    assert found.estimand == REPEATED
    sums = np.bincount(users, weights=hits).astype(np.float64)
    assert (found.wins, found.ties, found.losses) == tuple(
        int((np.sign(sums) == s).sum()) for s in (1, 0, -1)
    )
    assert list(found.other_p) == ["sign-flip permutation by user"]  # McNemar's needs independent requests
    assert found.other_p["sign-flip permutation by user"] == significance.sign_flip(sums)
    naive = significance.paired_t(hits)
    assert found.standard_error > 1.1 * naive.standard_error


def test_asking_the_same_again_tells_nothing_new(make_bundle: MakeBundle) -> None:
    rng = np.random.default_rng(0)
    ranks = [rng.integers(0, 11, 50).tolist() for _ in range(2)]
    once = [make_bundle(name, one, seed=None) for name, one in zip("ab", ranks, strict=True)]
    users = np.repeat(np.arange(50), 4)
    again = [
        run(make_bundle, name, np.repeat(one, 4).tolist(), users, seed=7)
        for name, one in zip("ab", ranks, strict=True)
    ]
    first, second = (compare([a], [b], "ndcg@10") for a, b in (once, again))
    for name in ("difference", "standard_error", "p", "wins", "losses", "num_users"):
        assert getattr(second, name) == pytest.approx(getattr(first, name)), name
    assert second.effect_size == pytest.approx(first.effect_size)
    one, four = (rescore(side[0], [10])["metrics"]["ndcg@10"] for side in (once, again))
    assert four == pytest.approx(one)  # the bootstrap draws users as well


def test_several_seeds_are_crossed_with_users_and_not_with_requests(make_bundle: MakeBundle) -> None:
    users, sides = draw(9, seeds=3)
    a, b = (
        [run(make_bundle, name, ranks, users, seed=seed) for seed, ranks in enumerate(side)]
        for name, side in zip("ab", sides, strict=True)
    )
    found = compare(a, b, "hr@10")
    of_users = [by_user((np.array(side) > 0).astype(float), users) for side in sides]
    assert found.num_users == 60
    crossed = significance.crossed_t(*of_users)
    assert found.difference == pytest.approx(crossed.difference)
    assert found.standard_error >= crossed.standard_error * (1 - 1e-9)  # the block lends its seeds
    family = compare_all({"a": a, "b": b}, "hr@10")
    assert family.comparisons[0].standard_error == pytest.approx(found.standard_error)


def test_a_user_who_asks_twice_is_refused_where_the_protocol_lets_ask_once(make_bundle: MakeBundle) -> None:
    twice = make_bundle("a", [1, 2, 0], users=["u1", "u2", "u1"])
    once = make_bundle("b", [1, 2, 0])
    with pytest.raises(CheckError, match="has 3 requests of 2 users") as refused:
        compare([twice], [once], "hr@10")
    assert refused.value.why == "under protocol 'ilrec' a user asks once in a phase"


def test_a_single_user_is_no_sample(make_bundle: MakeBundle) -> None:
    users = np.zeros(5, dtype=np.int64)
    a, b = (run(make_bundle, name, [1, 2, 3, 4, rank], users) for name, rank in (("a", 5), ("b", 0)))
    with pytest.raises(CheckError, match="at least two users, there are 1"):
        compare([a], [b], "hr@10")


def test_requests_are_numbered_by_user_in_their_order() -> None:
    users = ["b", "a", "b", "c", "b", "a"]
    assert request_numbers(users).tolist() == [1, 1, 2, 1, 3, 2]
    assert request_names(users, request_numbers(users)) == ["b", "a", "b #2", "c", "b #3", "a #2"]


def test_the_bootstrap_of_many_different_users_is_that_of_the_ratio() -> None:
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(2000), rng.integers(1, 6, 2000))
    values = rng.normal(size=2000)[users] + rng.normal(size=len(users))
    low, high = significance.bootstrap_interval(values, users)
    mean, error = clustered(values, users)
    assert ((low + high) / 2, (high - low) / 2) == pytest.approx((mean, 1.96 * error), rel=1e-3)
