"""Run SmolLM2 out of its package on a few users of ml-100k, and write what it cost and ranked.

    python benchmarks/smollm2.py run title --root DIR
    python benchmarks/smollm2.py run semantic-id --root DIR
    python benchmarks/smollm2.py report --root DIR > benchmarks/tuning/smollm2-ml-100k.csv

With 30 users and two dozen rows the runs are off-protocol: they show that a pretrained model goes through the
whole harness on a CPU, and what that costs, and compare no methods.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbench.comparison.significance import bootstrap_interval
from recbench.results import bundle

BACKBONE, USERS = "smollm2-135m-q4", 30
METHODS = (
    "zero-shot",
    "sft",
    "sdpo:num_negatives=2,train.max_rows=8,train.lr=1e-4",
    "ilrec:train.max_rows=8,train.lr=1e-4",
)
TITLE_METHODS = ("msl", "igd", "cft")
"""Their losses are about the tokens of titles."""
SETTINGS = {
    "train.pack": "user-blocks",  # a row of 21 items has 20 targets
    "train.block_items": 21,
    "train.block_overlap": 1,
    "train.max_rows": 24,
    "train.epochs": 1,
    "train.batch": 4,
    "train.lr": 1e-3,
    "train.checkpoints": 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("paradigm", nargs="?", default="title", choices=("title", "semantic-id"))
    parser.add_argument("--root", type=Path, required=True)
    options = parser.parse_args()
    if options.what == "run":
        methods = (*METHODS, *(TITLE_METHODS if options.paradigm == "title" else ()))
        words = [word for method in methods for word in ("-m", method)]
        words += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
        place = ["-d", "ml-100k", "-b", BACKBONE, "-p", options.paradigm, "--root", str(options.root)]
        limit = ["--limit-users", str(USERS)]
        call = [sys.executable, "-c", "from recbench.cli import main; main()", "run"]
        sys.exit(subprocess.run([*call, *words, *place, *limit], check=False).returncode)
    found = sorted(rows(options.root), key=lambda row: (row["paradigm"], row["method"]), reverse=True)
    writer = csv.DictWriter(sys.stdout, found[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)


def rows(root: Path) -> Iterator[dict[str, Any]]:
    """A line for each finished run of this backbone, with a 95 % interval over its users."""
    for folder in bundle.find(root / "runs"):
        run = bundle.load(folder)
        llm = run.spec.fit.llm
        if run.status != "complete" or llm is None or llm["backbone"] != BACKBONE:
            continue
        ndcg, cost = run.per_request("ndcg@10"), run.efficiency
        low, high = bootstrap_interval(ndcg)
        own = cost["seconds"]["fit"] + cost["seconds"]["parent"]
        tokens = cost["trained_tokens"]
        yield {
            "paradigm": llm["paradigm"],
            "method": run.spec.fit.method,
            "seed": run.seed,
            "users": len(ndcg),
            "ndcg@10": f"{ndcg.mean():.4f}",
            "low": f"{low:.4f}",
            "high": f"{high:.4f}",
            "hr@10": f"{run.metrics['hr@10']:.4f}",
            "trained_tokens": tokens,
            "tokens_per_second": f"{tokens / own:.0f}" if tokens else "",
            "fit_seconds": f"{own:.0f}",
            "rank_seconds": f"{cost['seconds']['rank']:.0f}",
            "peak_gib": f"{cost['peak_host_bytes'] / 2**30:.2f}",
            "off_protocol": "; ".join(run.manifest.reasons),
        }


if __name__ == "__main__":
    main()
