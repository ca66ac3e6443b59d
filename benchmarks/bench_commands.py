"""What commands cost that train nothing: seconds of a process each.

python benchmarks/bench_commands.py --root FOLDER    # a root with finished runs of sft and ilrec on ml-100k

Each round runs every command once; the median of the rounds, with the least and the most.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from rounds import spread

READS_RUNS = "compare ilrec sft -d ml-100k"
COMMANDS = {
    "--help": 0.3,
    "list methods": 1.5,
    "list runs": 1.5,
    "show ilrec": 1.5,
    "status": 1.5,
    "plan --study ilrec-table1 --offline": 1.5,
    READS_RUNS: 3.0,
    "leaderboard check ml-100k": 3.0,
}
"""Each with the seconds that it should stay below."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if cost(READS_RUNS.split(), args.root)[2]:
        raise SystemExit(
            f"{args.root} has no finished runs of sft and ilrec on ml-100k; `make run` makes some"
        )
    costs: dict[str, list[tuple[float, float, int]]] = {words: [] for words in COMMANDS}
    for _ in range(args.rounds):
        for words in COMMANDS:
            costs[words].append(cost(words.split(), args.root))
    print("| command | processor seconds | wall seconds | goal | exit |")
    print("|---|---|---|---|---|")
    for words, goal in COMMANDS.items():
        processor, wall, codes = zip(*costs[words], strict=True)
        code = max(codes, key=abs)
        print(f"| `recbench {words}` | {spread(processor)} | {spread(wall)} | {goal:g} | {code} |")


def cost(words: list[str], root: Path) -> tuple[float, float, int]:
    """Processor and wall seconds of a command, and its exit code."""
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from recbench.cli import main; main()", *words],
        cwd=root,
        capture_output=True,
        check=False,
    )
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return processor, time.perf_counter() - started, done.returncode


if __name__ == "__main__":
    main()
