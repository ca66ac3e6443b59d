"""Our metrics and tests against a library of information retrieval."""

from __future__ import annotations

import numpy as np
import pytest

from recbench.comparison import significance
from recbench.results import metrics

pytestmark = pytest.mark.slow  # ranx compiles its metrics when it is first used


@pytest.fixture
def ranks() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {
        name: np.where(rng.random(300) < rate, rng.integers(1, 21, 300), 0)
        for name, rate in (("a", 0.5), ("b", 0.4))
    }


def test_metrics_and_the_paired_t_agree_with_ranx(ranks: dict[str, np.ndarray]) -> None:
    from ranx import Qrels, Run, compare, evaluate

    qrels = Qrels({f"q{row}": {"target": 1} for row in range(300)})
    runs = {
        name: Run(
            {
                # the target at its rank among twenty items, best first
                f"q{row}": {
                    ("target" if place == rank else f"i{place}"): 21.0 - place for place in range(1, 21)
                }
                for row, rank in enumerate(found)
            },
            name=name,
        )
        for name, found in ranks.items()
    }
    for metric, theirs in (("hr", "hit_rate"), ("hr", "recall"), ("ndcg", "ndcg"), ("mrr", "mrr")):
        for cutoff in (1, 5, 10, 20):
            ours = metrics.per_request(ranks["a"], f"{metric}@{cutoff}").mean()
            assert ours == pytest.approx(evaluate(qrels, runs["a"], f"{theirs}@{cutoff}"))
    report = compare(qrels, list(runs.values()), metrics=["ndcg@10"], stat_test="student")
    p = report.comparisons[frozenset(("a", "b"))]["ndcg@10"]["p_value"]
    a, b = (metrics.per_request(ranks[name], "ndcg@10") for name in "ab")
    assert significance.paired_t(a - b).p == pytest.approx(p)


def test_the_sign_flip_agrees_with_scipy(ranks: dict[str, np.ndarray]) -> None:
    from scipy import stats

    a, b = (metrics.per_request(ranks[name], "ndcg@10") for name in "ab")
    theirs = stats.permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
    ).pvalue
    # both are Monte-Carlo estimates of one p
    assert significance.sign_flip(a - b, resamples=20_000) == pytest.approx(
        theirs, abs=4 * np.sqrt(theirs / 20_000)
    )
