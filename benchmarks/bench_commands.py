"""What commands cost that train nothing: processor seconds of a process each, the least of a few.

python benchmarks/bench_commands.py --root FOLDER    # a root with finished runs of sft and ilrec on ml-100k
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "--help": 0.3,
    "list methods": 1.5,
    "list runs": 1.5,
    "show ilrec": 1.5,
    "status": 1.5,
    "plan --study ilrec-table1 --offline": 1.5,
    "compare ilrec sft -d ml-100k": 3.0,
    "leaderboard check ml-100k": 3.0,
}
"""Each with the seconds that it should stay below."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print("| command | processor seconds | wall seconds | goal | exit |")
    print("|---|---|---|---|---|")
    for words, goal in COMMANDS.items():
        costs = [cost(words.split(), args.root) for _ in range(args.repeats)]
        processor, wall, code = min(costs)
        print(f"| `recbench {words}` | {processor:.2f} | {wall:.2f} | {goal:g} | {code} |", flush=True)


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
