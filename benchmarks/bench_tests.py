"""Measure CPU seconds of the tests and intervals at 50,000 users and 10,000 resamples.

    python benchmarks/bench_tests.py

They take turns in five rounds; the median of the rounds, with the least and the most.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
from scipy import stats

from recbench.comparison import significance
from recbench.results import metrics

NUM_USERS = 50_000
ROUNDS = 5
SOME = 200
"""Resamples of scipy's bootstrap, which draws users one by one: its seconds are scaled to 10,000."""


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    rng = np.random.default_rng(0)
    chance = rng.beta(0.5, 4.5, NUM_USERS)
    hits = rng.random((20, NUM_USERS)) < chance
    values = metrics.per_request(np.where(hits, rng.integers(1, 11, hits.shape), 0), "ndcg@10")
    a, b = values[:10], values[10:]
    difference = a[0] - b[0]
    rows: dict[str, tuple[Callable[[], object], float]] = {
        "paired t": (lambda: significance.paired_t(difference), 1),
        "sign-flip": (lambda: significance.sign_flip(difference), 1),
        "bootstrap of one difference": (lambda: significance.bootstrap_interval(difference), 1),
        "crossed t, 2 x 10 runs": (lambda: significance.crossed_t(a, b), 1),
        "scipy.stats.bootstrap, scaled": (
            lambda: stats.bootstrap((difference,), np.mean, n_resamples=SOME, method="percentile", batch=50),
            10_000 / SOME,
        ),
    }
    found: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, (work, times) in rows.items():
            found[name].append(times * seconds(work))
    for name, (_, *each) in found.items():
        print(f"{name:34} {median(each):8.4f} s ({min(each):.4f}-{max(each):.4f})")


if __name__ == "__main__":
    main()
