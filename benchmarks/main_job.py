"""Time the main job under the guard of workers and without, and in another checkout, in turn.

    python benchmarks/main_job.py [--seeds 1] [--rounds 5] [--before OLD/.venv/bin/recbench] [--guarded]

The main job is `make run` without the installation: five methods on ml-100k, two runs at a time, from an
empty root, so that the split and all stages are made too, to the board. Each round runs every way once, in an
order that turns by one. Wall and CPU seconds are of the commands with their workers. A ratio is of one round:
the median, with the least and the most.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rounds import spread

METHODS = ("popularity", "transition", "sasrec", "ilrec", "sft")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path, help="recbench of another checkout")
    parser.add_argument("--guarded", action="store_true", help="leave out the way without the guard")
    args = parser.parse_args()
    here = Path(sys.executable).with_name("recbench")
    ways = {"landlock": (here, "landlock")}
    if not args.guarded:
        ways["off"] = (here, "off")
    if args.before is not None:
        ways["before"] = (args.before, "landlock")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(args.rounds):
        for name in np.roll(list(ways), number).tolist():
            times[name].append(seconds(*ways[name], args.seeds))
            print(f"<!-- round {number + 1}, {name}: {times[name][-1]} -->", flush=True)
    print("| way | wall s | CPU s |\n|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in np.median(taken, axis=0))} |")
    print("\n| | wall | CPU |\n|---|---|---|")
    for other in list(ways)[1:]:
        ratios = np.array(times["landlock"]) / np.array(times[other])
        print(f"| landlock / {other} | {' | '.join(spread(column.tolist(), 3) for column in ratios.T)} |")


def seconds(recbench: Path, guard: str, seeds: int) -> tuple[float, float]:
    """Wall and CPU seconds of the job in an empty root."""
    chosen = [word for method in METHODS for word in ("-m", method)]
    with tempfile.TemporaryDirectory() as folder:
        root = ["--root", folder]
        run = ["run", *chosen, "-d", "ml-100k", "--seeds", str(seeds), "--max-parallel", "2"]
        environment = {**os.environ, "RECBENCH_GUARD": guard}
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        for command in (run, ["leaderboard", "build"]):
            words = [str(recbench), *command, *root]
            subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
