"""Trials of the tiny backbone on validation NDCG@10 of ml-100k, kept in benchmarks/tuning/tiny-ml-100k.jsonl.

    python benchmarks/tune_tiny.py sft train.lr=1e-3,train.epochs=2 identifiers.codes=64
    python benchmarks/tune_tiny.py ilrec:alpha=0.5
    python benchmarks/tune_tiny.py dpo:train.lr=1e-3    # --set would change the parent too

Arguments: a method, then one trial a word: settings joined by commas (none: the defaults). Test items are
never ranked here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recbench import drive, plan
from recbench.resolve import Selection
from recbench.root import discover

LEDGER = Path(__file__).parent / "tuning" / "tiny-ml-100k.jsonl"


def main(method: str, trials: list[str]) -> None:
    root = discover(None)
    for trial in trials or [""]:
        settings = dict(pair.split("=", 1) for pair in trial.split(",") if pair)
        selection = Selection(method=method, dataset="ml-100k", settings=settings, phase="valid")
        *_, bundle = drive.run_all(plan.plan([selection], root), root)
        fit = bundle.spec.fit
        assert fit.llm is not None
        record = {
            "method": fit.method,
            "params": dict(fit.params),
            "tiny": fit.llm["backbone_digest"],
            "train": fit.llm["train"],
            "identifiers": fit.llm["identifiers"],
            "seed": fit.seed,
            "split": fit.split,
            "valid_ndcg_at_10": round(bundle.metrics["ndcg@10"], 4),
            "valid_hr_at_10": round(bundle.metrics["hr@10"], 4),
            "fit_seconds": round(bundle.efficiency["seconds"]["fit"], 1),
        }
        with LEDGER.open("a") as ledger:
            ledger.write(json.dumps(record, sort_keys=True) + "\n")
        sys.stdout.write(f"{record}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
