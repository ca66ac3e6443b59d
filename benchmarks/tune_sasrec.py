"""Trials of SASRec's hyperparameters on validation NDCG@10; the ledger that its defaults rest on.

    python benchmarks/tune_sasrec.py --dataset ml-100k --root . dropout=0.2,lr=2e-3 dropout=0.4,dim=128

Each argument is a trial: what it changes, over the defaults. The ledger gets one JSON line a trial, with all
resolved parameters. No test target is read.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from recbench import card, params
from recbench.data import TrainingData
from recbench.llm.sasrec import train_sasrec
from recbench.llm.sasrec_params import VERSION, SASRecParams
from recbench.prepare import prepare
from recbench.protocol import get_protocol
from recbench.split import load_training


class Curve:
    """Keeps the records of the training curve."""

    def __init__(self) -> None:
        self.points: list[dict[str, float | int | str]] = []

    def progress(self, stage: str, done: int, total: int) -> None: ...

    def log(self, **values: float | int | str) -> None:
        self.points.append(values)

    def count(self, **values: int) -> None: ...


def trial(data: TrainingData, changes: str, *, seed: int, threads: int) -> dict[str, object]:
    pairs = params.parse_assignments([part for part in changes.split(",") if part])
    chosen = params.build(SASRecParams, pairs, what="sasrec")
    curve = Curve()
    start = time.perf_counter()
    train_sasrec(data, chosen, seed=seed, report=curve, threads=threads)
    best = max(curve.points, key=lambda point: float(point["valid_ndcg_at_10"]))
    return {
        "method": "sasrec",
        "version": VERSION,
        "split": data.digests["split"],
        "changes": changes,
        "params": params.resolved(chosen),
        "seed": seed,
        "valid_ndcg_at_10": round(float(best["valid_ndcg_at_10"]), 6),
        "best_epoch": best["epoch"],
        "epochs_run": len(curve.points),
        "seconds": round(time.perf_counter() - start, 1),
        "threads": threads,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("trials", nargs="+", metavar="KEY=VALUE,...", help="'' is the defaults")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ledger", type=Path)
    args = parser.parse_args()
    data_dir = os.environ.get("RECBENCH_DATA")
    split = prepare(
        card.find(args.dataset, args.root),
        get_protocol("ilrec"),
        cache=args.root / "cache",
        data_dir=Path(data_dir) if data_dir else None,
    )
    data = load_training(split.folder)
    ledger = args.ledger or Path(__file__).parent / "tuning" / f"sasrec-{args.dataset}.jsonl"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    for changes in args.trials:
        line = json.dumps(trial(data, changes, seed=args.seed, threads=args.threads))
        print(line, flush=True)
        with ledger.open("a") as stream:
            stream.write(line + "\n")


if __name__ == "__main__":
    main()
