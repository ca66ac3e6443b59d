"""Tune `transition` on validation, one parameter at a time, and keep every trial.

    python benchmarks/tune_transition.py ml-100k --ledger benchmarks/tuning/transition-ml-100k.jsonl

Starts at `START`. A pass tries every value of a parameter's space with the other parameters at
their best so far, parameter after parameter; passes are repeated until one changes nothing. A trial that was
made before is not made again. No test target is read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fits

from recbench.data import TrainingData
from recbench.dataset import split
from recbench.results import metrics
from recbench.results.evaluate import target_ranks
from recbench.testing import toy_run
from recbench_methods.transition import Transition

METRIC = "ndcg@10"
START: dict[str, Any] = {
    "window": 2,
    "gap_decay": 0.5,
    "lags": 3,
    "recency": 0.5,
    "smoothing": 1.0,
    "backwards": 0.0,
    "exponent": 1.0,
}


def trial(values: dict[str, Any], data: TrainingData) -> tuple[float, float]:
    """Validation NDCG@10, and the seconds of fit and ranking."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = toy_run(Path(folder) / "fit")
        Transition(**values).fit(data, run=run)
        method = Transition(**values)
        method.load(data, run=run)
        ranks = target_ranks(method.rank(data.valid.requests, k=10).items, data.valid.target)
    return float(metrics.per_request(ranks, METRIC).mean()), time.perf_counter() - start


def search(data: TrainingData, ledger: Path) -> dict[str, Any]:
    """The best values found; appends each new trial to the ledger."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    known = [json.loads(line) for line in lines]
    found: dict[str, float] = {
        json.dumps(one["params"], sort_keys=True): one["valid_ndcg_at_10"] for one in known
    }

    def value_of(values: dict[str, Any]) -> float:
        whole = asdict(Transition(**values))
        key = json.dumps(whole, sort_keys=True)
        if key not in found:
            score, seconds = trial(values, data)
            found[key] = round(score, 6)
            record = {
                "method": "transition",
                "version": Transition.version,
                "split": data.digests["split"],
                "params": whole,
                "valid_ndcg_at_10": found[key],
                "seconds": round(seconds, 2),
            }
            fits.append(record, ledger)
        return found[key]

    best, changed = dict(START), True
    while changed:
        changed = False
        for name, choices in Transition.space.items():
            assert not isinstance(choices, dict)
            tried = {choice: value_of({**best, name: choice}) for choice in choices}
            # equal scores: the value that is there stays
            winner = max(tried, key=lambda choice: (tried[choice], choice == best[name]))
            changed |= winner != best[name]
            best[name] = winner
            print(f"{name}: {tried} -> {winner}", flush=True)
    print(f"best: {best} {value_of(best):.6f}, {len(found)} trials")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=Path())
    args = parser.parse_args()
    prepared = fits.prepared(args.dataset, args.root)
    search(split.load_training(prepared.folder), args.ledger)


if __name__ == "__main__":
    main()
