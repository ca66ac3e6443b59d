"""Try the readings of RosePO's smoothing on validation items of ml-100k, and keep every trial.

    python benchmarks/rosepo_readings.py run --root ROOT      # what is finished there is not run again
    python benchmarks/rosepo_readings.py keep --root ROOT...  # writes benchmarks/tuning/rosepo-ml-100k.jsonl
    python benchmarks/rosepo_readings.py report

All readings start from one `sft` with collaborative identifiers. A line has the validation NDCG@10 and what
the fit logged of its pairs: the oracle's accuracy, the mean smoothing, the share at the cap, and the mean of
1 - 2 epsilon.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbench.base.params import parse_selection
from recbench.llm.signals.smoothing import REPORTED
from recbench.results import bundle

LEDGER = Path(__file__).parent / "tuning" / "rosepo-ml-100k.jsonl"
IDENTIFIERS = "identifiers.embedding=collaborative"
READINGS = (
    "rosepo:negatives=self-hard,smoothing=personal",
    "rosepo:negatives=self-hard,smoothing=constant,epsilon=0.1",
    "rosepo:negatives=self-hard,smoothing=none",
    "rosepo:negatives=self-hard,smoothing=personal,cap=0.25",
    "rosepo:negatives=popularity,smoothing=none",
    "rosepo:negatives=popularity,smoothing=personal",
    "rosepo:negatives=similar,smoothing=personal",
    "rosepo:negatives=self-hard,smoothing=constant,epsilon=0.3",
    "rosepo:negatives=popularity,smoothing=constant",
    "rosepo:negatives=similar,smoothing=constant",
    "rosepo:negatives=self-hard,smoothing=personal,cap=0.1",
)
COLUMNS = ("method", "lr", "seed", "valid_ndcg_at_10", *REPORTED)


def run(root: Path, seed: int) -> None:
    command = "from recbench.cli import main; main()"
    shared = [
        "-d",
        "ml-100k",
        "--set",
        IDENTIFIERS,
        "--trials",
        "1",
        "--seed",
        str(seed),
        "--root",
        str(root),
    ]
    for reading in ("sft", *READINGS):
        subprocess.run([sys.executable, "-c", command, "tune", "-m", reading, *shared], check=True)


def keep(roots: Sequence[Path]) -> None:
    """Write the finished trials under `roots`, sft's first."""
    records = [
        (root, json.loads(line))
        for root in roots
        for path in sorted((root / "tuning").glob("*-ml-100k-*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    wanted = ("sft", *READINGS)
    known = {tuple(sorted(parse_selection(name)[1].items())): name for name in READINGS} | {(): "sft"}
    lines = []
    for root, record in records:
        name, values = parse_selection(record["asked"])
        place = known.get(tuple(sorted(values.items()))) if name in ("sft", "rosepo") else None
        if place is None or record["spec"]["fit"]["llm"]["identifiers"]["embedding"] != "collaborative":
            continue
        lines.append((wanted.index(place), line(record, bundle.load(root / "runs" / record["run"]).curve())))
    text = (
        json.dumps(one) + "\n"
        for _, one in sorted(lines, key=lambda pair: (pair[0], pair[1]["lr"], pair[1]["seed"]))
    )
    LEDGER.write_text("".join(text))


def line(record: dict[str, Any], curve: list[dict[str, Any]]) -> dict[str, Any]:
    fit = record["spec"]["fit"]
    report = {name: round(point[name], 4) for point in curve for name in REPORTED if name in point}
    return {
        "method": record["asked"],
        "version": fit["method_version"],
        "identifiers": "collaborative",
        "split": fit["split"],
        "seed": fit["seed"],
        "lr": fit["llm"]["train"]["lr"],
        "valid_ndcg_at_10": None if record["ndcg@10"] is None else round(record["ndcg@10"], 6),
        "status": record["status"],
        "message": record["message"],
        "seconds": record["seconds"],
        **report,
    }


def report() -> None:
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for text in LEDGER.read_text().splitlines():
        one = json.loads(text)
        print(f"| {' | '.join(str(one.get(name, '')) for name in COLUMNS)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("run", "keep", "report"))
    parser.add_argument("--root", type=Path, nargs="+", default=[Path()])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "run":
        run(args.root[0], args.seed)
    elif args.what == "keep":
        keep(args.root)
    else:
        report()


if __name__ == "__main__":
    main()
