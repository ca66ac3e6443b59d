"""Try S-DPO's learning rate, beta and number of negatives on validation items of ml-100k.

    python benchmarks/preference_stage.py run --root ROOT     # what is finished there is not run again
    python benchmarks/preference_stage.py keep --root ROOT    # adds to benchmarks/tuning/sdpo-ml-100k.jsonl

All trials of a seed start from the same `sft`, which is a line too. They are what the preference stage of a
model trained from scratch takes: its learning rate, and whether the official beta and negatives suit it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from recbench.results import bundle

LEDGER = Path(__file__).parent / "tuning" / "sdpo-ml-100k.jsonl"
RECIPES = (
    "sft",
    *(f"sdpo:train.lr={lr}" for lr in ("1e-5", "3e-5", "1e-4", "3e-4")),
    *(f"sdpo:beta=0.1,train.lr={lr}" for lr in ("1e-4", "3e-4")),
    "sdpo:num_negatives=1,train.lr=1e-4",
    # at the learning rate that the trials above chose
    *(f"sdpo:beta={beta},num_negatives={count}" for beta in ("1.0", "0.1") for count in (1, 3, 5)),
)
SETTINGS = ("train.lr", "train.epochs", "train.max_rows")


def run(root: Path, seeds: int) -> None:
    words = [word for recipe in RECIPES for word in ("-m", recipe)]
    shared = ["-d", "ml-100k", "--phase", "valid", "--seeds", str(seeds), "--root", str(root)]
    call = [sys.executable, "-c", "from recbench.cli import main; main()", "run"]
    subprocess.run([*call, *words, *shared], check=True)


def keep(root: Path) -> None:
    """Add the finished validation runs of sft and sdpo under `root` to the ledger."""
    lines = [json.loads(line) for line in LEDGER.read_text().splitlines()] if LEDGER.exists() else []
    for folder in (root / "runs").iterdir():
        run = bundle.load(folder)
        fit = run.spec.fit
        if run.status != "complete" or fit.method not in ("sft", "sdpo") or run.spec.phase != "valid":
            continue
        assert fit.llm is not None
        line = {
            "method": run.label,
            "seed": fit.seed,
            "params": dict(fit.params),
            **{name: fit.llm["train"][name.removeprefix("train.")] for name in SETTINGS},
            "valid_hr_at_10": round(run.metrics["hr@10"], 6),
            "valid_ndcg_at_10": round(run.metrics["ndcg@10"], 6),
        }
        lines += [line] if line not in lines else []
    lines.sort(key=lambda one: (one["method"] != "sft", one["train.lr"], one["method"], one["seed"]))
    LEDGER.write_text("".join(json.dumps(line) + "\n" for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("run", "keep"))
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    if args.what == "run":
        run(args.root, args.seeds)
    else:
        keep(args.root)


if __name__ == "__main__":
    main()
