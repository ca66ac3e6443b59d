"""What the guard of a worker costs: the same fit and ranking under each mode, in turn.

    python benchmarks/bench_guard.py --root FOLDER [--method M] [--dataset D] [--rounds 9] [--out FILE]

A round runs every mode once, in an order that turns by one each round. Wall and CPU seconds are those of the
worker processes, from their start. The overhead is the median over rounds of the ratio to `off` in the same
round, less one, with the least and the most; its interval is that of the median by order statistics. One line
of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from recbench.base.root import Root, discover
from recbench.planning.plan import Planned, plan
from recbench.planning.resolve import Selection
from recbench.running.guard import landlock
from recbench.running.guard.closed import closed_for
from recbench.running.guard.process import Mode
from recbench.running.task import Task

MODES: tuple[Mode, ...] = ("off", "audit", "landlock")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--method", default="sasrec:epochs=2")
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="also write the line here")
    options = parser.parse_args()
    options.root.mkdir(parents=True, exist_ok=True)
    root = discover(options.root)
    (planned,) = plan([Selection(method=options.method, dataset=options.dataset)], root)
    times = {mode: np.zeros((options.rounds, 2)) for mode in MODES}
    for number in range(-1, options.rounds):  # the first round warms the caches
        for mode in np.roll(MODES, number):
            seconds = work(planned, root, mode)
            if number >= 0:
                times[mode][number] = seconds
    result = {
        "method": options.method,
        "dataset": options.dataset,
        "rounds": options.rounds,
        "landlock_abi": landlock.abi(),
        "seconds": {
            mode: dict(zip(("wall", "cpu"), np.median(times[mode], 0), strict=True)) for mode in MODES
        },
        "overhead": {
            mode: {
                clock: overhead(times[mode][:, column] / times["off"][:, column])
                for column, clock in enumerate(("wall", "cpu"))
            }
            for mode in MODES[1:]
        },
    }
    line = json.dumps(result)
    print(line)
    if options.out:
        options.out.write_text(line + "\n")


def work(planned: Planned, root: Root, mode: Mode) -> tuple[float, float]:
    """Wall and CPU seconds of a fit and a ranking."""
    out = root.path / "out"
    task = Task(
        spec=planned.spec,
        split=planned.split.folder,
        cache=root.cache,
        out=out,
        device="cpu",
        threads=1,
        offline=True,
        guard=mode,
        closed=closed_for(planned.spec.fit.dataset, root),
    )
    for folder in (task.workdir, out):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    task.write(root.path / "task.json")
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for verb in ("fit", "rank"):
        command = [sys.executable, "-m", "recbench.running.worker", verb, str(root.path / "task.json")]
        subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def overhead(ratios: np.ndarray) -> dict[str, float]:
    """Median of the ratios less one, with its interval of at least 95 % where six ratios or more give one,
    the least and the most."""
    ordered = np.sort(ratios) - 1
    low = next((k for k in range(len(ordered) // 2, -1, -1) if coverage(len(ordered), k) >= 0.95), 0)
    return {
        "median": float(np.median(ordered)),
        "low": float(ordered[low]),
        "high": float(ordered[-1 - low]),
        "least": float(ordered[0]),
        "most": float(ordered[-1]),
    }


def coverage(count: int, below: int) -> float:
    """Probability that the median lies between the order statistics `below` + 1 from either end."""
    from scipy.stats import binom

    return float(1 - 2 * binom.cdf(below, count, 0.5))


if __name__ == "__main__":
    main()
