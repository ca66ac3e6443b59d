"""Score 50,000 users and 20,000 items, and test 50,000 differences, by the processor's seconds.

    python benchmarks/bench_metrics.py

`product` is that of the users' and the items' vectors, in chunks of users, which any scorer by vectors has to
compute. `ranked` adds what a ranking needs: masks, the best 20 with the tie rule, target ranks and all
metrics. They take turns; ratios are those of each round. The peak is that of the whole process.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np

from recbench.comparison import significance
from recbench.data import Catalogue, Ints, Ragged, Requests
from recbench.ranking import CHUNK, rank_in_chunks
from recbench.results import evaluate, metrics, request_features

DEPTH, WIDTH, SEEN = 20, 64, 20
CUTOFFS = (1, 5, 10, 20)


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print("| what | goal | measured |")
    print("|---|---|---|")
    scoring(args.users, args.items, args.rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| its peak | 1 GiB | {peak:.2f} GiB |")
    flips(args.users, args.rounds)


def scoring(num_users: int, num_items: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    users = rng.standard_normal((num_users, WIDTH), dtype=np.float32)
    items = rng.standard_normal((num_items, WIDTH), dtype=np.float32)
    popularity: Ints = rng.integers(0, 1000, num_items)
    seen = Ragged.of(list(rng.integers(0, num_items, (num_users, SEEN))))
    requests = Requests(user=np.arange(num_users), history=seen, excluded=seen)
    targets = rng.integers(0, num_items, num_users)
    empty = ("",) * num_items
    catalogue = Catalogue(item_ids=empty, titles=empty, categories=empty, popularity=popularity)

    def product() -> None:
        for start in range(0, num_users, CHUNK):
            users[start : start + CHUNK] @ items.T

    def ranked() -> None:
        ranking = rank_in_chunks(lambda asked: users[asked.user] @ items.T, requests, popularity, k=DEPTH)
        context = request_features.context_of(catalogue, requests, targets)
        evaluate.score(ranking.items, targets, context=context, cutoffs=CUTOFFS)

    product()
    found = [(seconds(product), seconds(ranked)) for _ in range(rounds)]
    each = np.array([after / before for before, after in found])
    name = f"ranked / product, {num_users} users x {num_items} items"
    print(f"| {name} | <= 1.6 | {np.median(each):.2f} ({each.min():.2f}-{each.max():.2f}) |")
    print(f"| seconds of both | | {np.median(found, 0)[1]:.2f}, {np.median(found, 0)[0]:.2f} |")


def flips(num_users: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    hits = rng.random((2, num_users)) < rng.beta(0.5, 4.5, num_users)
    a, b = metrics.per_request(np.where(hits, rng.integers(1, 11, hits.shape), 0), "ndcg@10")
    each = [seconds(lambda: significance.sign_flip(a - b)) for _ in range(rounds)]
    name = f"seconds of 10,000 permutations of {num_users} users"
    print(f"| {name} | <= 0.15 | {np.median(each):.3f} ({min(each):.3f}-{max(each):.3f}) |")


if __name__ == "__main__":
    main()
