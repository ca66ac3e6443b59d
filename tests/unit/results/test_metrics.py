from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.errors import CheckError, UsageError
from recbench.results import metrics

ranks_of_lists = st.lists(st.integers(0, 25), min_size=1, max_size=60).map(np.array)


@pytest.mark.parametrize(("rank", "gain"), [(1, 1.0), (5, 0.386853), (10, 0.289065), (11, 0.278943)])
def test_ndcg_of_one_target_is_the_discount_of_its_rank(rank: int, gain: float) -> None:
    assert metrics.per_request(np.array([rank]), "ndcg@20")[0] == pytest.approx(gain, abs=5e-7)


@pytest.mark.parametrize("name", ["hr", "ndcg", "mrr"])
def test_a_metric_is_zero_below_the_cutoff_and_where_the_target_is_absent(name: str) -> None:
    assert metrics.per_request(np.array([11, 0]), f"{name}@10").tolist() == [0.0, 0.0]
    assert metrics.per_request(np.array([10]), f"{name}@10")[0] > 0


def test_summary_is_the_mean_over_all_requests() -> None:
    values = metrics.summary(np.array([1, 3, 0, 7]), (1, 5))
    assert values == {
        "hr@1": 1 / 4,
        "ndcg@1": 1 / 4,
        "mrr@1": 1 / 4,
        "hr@5": 2 / 4,
        "ndcg@5": pytest.approx((1 + 1 / math.log2(4)) / 4),
        "mrr@5": pytest.approx((1 + 1 / 3) / 4),
    }


def test_summary_of_no_requests_is_refused() -> None:
    with pytest.raises(CheckError, match="no requests"):
        metrics.summary(np.zeros(0, dtype=np.int32), (1,))


@given(ranks_of_lists)
def test_every_set_of_ranks_keeps_the_identity(ranks: np.ndarray) -> None:
    values = metrics.summary(ranks, (1, 3, 5, 10, 20))
    metrics.check_identity(values)
    assert all(0 <= value <= 1 for value in values.values())


@given(ranks_of_lists, st.integers(0, 2**32 - 1))
def test_the_order_of_the_requests_does_not_matter(ranks: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(ranks))
    before, after = metrics.summary(ranks, (5, 10)), metrics.summary(ranks[order], (5, 10))
    assert after == pytest.approx(before)


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        ({"hr@10": 0.2, "ndcg@10": 0.21}, "ndcg@10"),  # NDCG above HR
        ({"hr@5": 0.1, "ndcg@5": 0.02}, "ndcg@5"),  # five places give at least 0.1 / log2(6) = 0.0387
        ({"hr@1": 0.1, "ndcg@1": 0.09}, "ndcg@1"),  # at cutoff 1 they are the same
        # 0.1 new hits at ranks 6..10 give 0.0289 to 0.0356
        ({"hr@5": 0.1, "ndcg@5": 0.1, "hr@10": 0.2, "ndcg@10": 0.14}, "ndcg@10"),
        ({"hr@5": 0.1, "mrr@5": 0.1, "hr@10": 0.2, "mrr@10": 0.105}, "mrr@10"),  # at least 0.1 / 10
    ],
)
def test_the_identity_finds_metrics_that_no_ranks_can_give(values: dict[str, float], broken: str) -> None:
    with pytest.raises(CheckError, match=broken):
        metrics.check_identity(values)


def test_the_identity_ignores_other_measures() -> None:
    metrics.check_identity({"coverage@10": 0.5, "hr@10": 0.2, "ndcg@5": 0.9})


def test_a_metric_name_is_read_in_any_case() -> None:
    assert str(metrics.parse(" NDCG@010")) == "ndcg@10"


@pytest.mark.parametrize("text", ["ndcg", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@ten", "ndcg@1.5", "hr@١"])
def test_a_metric_without_a_cutoff_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cutoff"):
        metrics.parse(text)


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'ndcg'"):
        metrics.parse("ndgc@10")


def test_a_cutoff_below_the_rankings_depth_is_refused() -> None:
    assert metrics.parse("hr@20", depth=20).cutoff == 20
    with pytest.raises(UsageError, match="hr@50 needs 50 places, the rankings have 20"):
        metrics.parse("hr@50", depth=20)


def test_recall_of_one_target_is_hr() -> None:
    assert str(metrics.parse("Recall@10")) == "hr@10"
