"""Measure CPU seconds of the tests and intervals at 50,000 users and 10,000 resamples, the best of three.

python benchmarks/bench_tests.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy import stats

from recbench.comparison import significance
from recbench.results import metrics

NUM_USERS = 50_000


def seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    rng = np.random.default_rng(0)
    chance = rng.beta(0.5, 4.5, NUM_USERS)
    hits = rng.random((20, NUM_USERS)) < chance
    values = metrics.per_request(np.where(hits, rng.integers(1, 11, hits.shape), 0), "ndcg@10")
    a, b = values[:10], values[10:]
    difference = a[0] - b[0]
    some = 200  # scipy resamples users one by one: measured at 200 and scaled to 10,000
    rows = {
        "paired t": lambda: significance.paired_t(difference),
        "sign-flip": lambda: significance.sign_flip(difference),
        "bootstrap of one difference": lambda: significance.bootstrap_interval(difference),
        "crossed t, 2 x 10 runs": lambda: significance.crossed_t(a, b),
    }
    for name, work in rows.items():
        print(f"{name:34} {seconds(work):7.3f} s")
    theirs = seconds(
        lambda: stats.bootstrap((difference,), np.mean, n_resamples=some, method="percentile", batch=50)
    )
    print(f"{'scipy.stats.bootstrap, scaled':34} {theirs * 10_000 / some:7.3f} s")


if __name__ == "__main__":
    main()
