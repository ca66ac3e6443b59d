"""Try S-DPO's learning rate, beta and number of negatives on validation items of ml-100k.

    python benchmarks/preference_stage.py run --root ROOT     # what is finished there is not run again
    python benchmarks/preference_stage.py keep --root ROOT    # writes benchmarks/tuning/sdpo-ml-100k.jsonl

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
)
SETTINGS = ("train.lr", "train.epochs", "train.max_rows")


def run(root: Path, seeds: int) -> None:
    words = [word for recipe in RECIPES for word in ("-m", recipe)]
    shared = ["-d", "ml-100k", "--phase", "valid", "--seeds", str(seeds), "--root", str(root)]
    call = [sys.executable, "-c", "from recbench.cli import main; main()", "run"]
    subprocess.run([*call, *words, *shared], check=True)


def keep(root: Path) -> None:
    """Write the finished validation runs of sft and sdpo under `root`."""
    lines = {}
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
        lines[run.label, fit.seed] = line
    ordered = sorted(lines, key=lambda key: (key[0] != "sft", key))
    LEDGER.write_text("".join(json.dumps(lines[key]) + "\n" for key in ordered))


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
