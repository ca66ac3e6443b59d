"""Trials of a scorer's hyperparameters on validation NDCG@10; the ledger that its defaults rest on.

    python benchmarks/tune_scorer.py itemknn --dataset ml-100k --root . decay=0.5 decay=0.8,shrink=50

Each argument after the method is a trial: what it changes, over the defaults ('' is the defaults). The ledger
gets one JSON line a trial, with all resolved parameters. No test target is read.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from recbench import card, metrics, params, registry
from recbench.data import TrainingData
from recbench.evaluate import target_ranks
from recbench.method import RunContext
from recbench.prepare import prepare
from recbench.protocol import get_protocol
from recbench.split import load_training
from recbench.stages import StageCache


def trial(data: TrainingData, name: str, changes: str, *, seed: int, threads: int) -> dict[str, object]:
    plugin = registry.load(name)
    values = params.parse_assignments([part for part in changes.split(",") if part])
    method = plugin.build(values)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = RunContext(
            seed=seed, workdir=Path(folder), stages=StageCache(Path(folder) / "stages"), threads=threads
        )
        method.fit(data, run=run)
        method.load(data, run=run)
        items = method.rank(data.valid.requests, k=10).items
    ndcg = metrics.per_request(target_ranks(items, data.valid.target), "ndcg@10")
    return {
        "method": name,
        "version": plugin.traits.version,
        "split": data.digests["split"],
        "changes": changes,
        "params": params.resolved(method),
        "seed": seed,
        "valid_ndcg_at_10": round(float(np.mean(ndcg)), 6),
        "seconds": round(time.process_time() - start, 1),
        "threads": threads,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("trials", nargs="+", metavar="KEY=VALUE,...")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    data_dir = os.environ.get("RECBENCH_DATA")
    split = prepare(
        card.find(args.dataset, args.root),
        get_protocol("ilrec"),
        cache=args.root / "cache",
        data_dir=Path(data_dir) if data_dir else None,
    )
    data = load_training(split.folder)
    ledger = Path(__file__).parent / "tuning" / f"{args.method}-{args.dataset}.jsonl"
    for changes in args.trials:
        line = json.dumps(trial(data, args.method, changes, seed=args.seed, threads=args.threads))
        print(line, flush=True)
        with ledger.open("a") as stream:
            stream.write(line + "\n")


if __name__ == "__main__":
    main()
