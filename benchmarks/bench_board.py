"""Time and memory of a board from bundles: 10 methods, 5 seeds, 50,000 users, made-up ranks.

    python benchmarks/bench_board.py [--folder FOLDER]

The bundles are made first and are not measured. What is measured is all that `recbench leaderboard build`
does: reading and verifying the bundles, the board with its strata, its forms and its records. A round is a
process of its own, which builds the board and then checks it; the median of the rounds, with the least and
the most.

Nothing is read from a disk, since the bundles were just written, and there is one thread and no other
process. Wall seconds beyond the processor's are those in which the process could run and other work had the
cores, as the scheduler counts them (Linux): they say how quiet the machine was, and nothing of a board.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from recbench.protocol import get_protocol
from recbench.results import bundle, metrics, request_features
from recbench.results.manifest import Manifest
from recbench.results.request_features import Context
from recbench.results.spec import FitSpec, RunSpec

METHODS, SEEDS, USERS, ITEMS, DEPTH = 10, 5, 50_000, 10_000, 20
TRAIN = {"epochs": 3.0, "pack": "none", "lora_rank": 0, "precision": "fp32"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="where the bundles are made; a temporary folder if left out"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help="measure the bundles that lie in the folder")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        make(root / "runs")
        # a process of its own, so that the peak is not that of making the bundles
        words = [sys.executable, __file__, "--folder", str(root), "--measure"]
        rounds = [
            json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
            for _ in range(options.rounds)
        ]
    show({name: [one[name] for one in rounds] for name in rounds[0]})


def show(found: dict[str, list[float]]) -> None:
    def spread(name: str, digits: int = 1) -> str:
        each = found[name]
        return f"{median(each):.{digits}f} ({min(each):.{digits}f}-{max(each):.{digits}f})"

    what = f"a board of {METHODS} methods x {SEEDS} seeds x {USERS} users"
    print("| what | goal | measured |")
    print("|---|---|---|")
    print(f"| processor seconds of {what} | < 10 | {spread('processor')} |")
    parts = ", ".join(f"{spread(name)} {name}" for name in ("reading", "computing", "writing"))
    print(f"| wall seconds | | {spread('wall')}: {parts} |")
    print(f"| of these waiting for a processor | | {spread('waiting')} |")
    print(f"| processor seconds of its check | | {spread('check')} |")
    print(f"| peak of memory | | {spread('peak', 2)} GiB |")
    print(f"| {median(found['forms']):.0f} forms | | {median(found['size']):.1f} MiB |")


def make(runs: Path) -> None:
    rng = np.random.default_rng(0)
    users = np.arange(USERS).astype(str)
    ease = rng.random(USERS)  # users are hard or easy for all methods alike
    surroundings = made_up_context(rng)
    parents: dict[int, str] = {}
    for number in range(METHODS):
        for seed in range(SEEDS):
            hit = ease + rng.normal(0, 0.2, USERS) < 0.12 + 0.004 * number + rng.normal(0, 0.002)
            ranks = np.where(hit, rng.integers(1, DEPTH + 1, USERS), 0).astype(np.int32)
            if number == 0:
                parents[seed] = write(runs, "sft", seed, ranks, users, surroundings)
            else:
                write(runs, f"method{number}", seed, ranks, users, surroundings, parent=parents[seed])


def made_up_context(rng: np.random.Generator) -> Context:
    popularity = rng.zipf(1.5, ITEMS).clip(max=10_000).astype(np.int32)
    return Context(
        item_popularity=popularity,
        item_labels=np.zeros((ITEMS, 0), dtype=np.int32),
        target_popularity=rng.choice(popularity, USERS, p=popularity / popularity.sum()),
        history_length=rng.integers(1, 50, USERS).astype(np.int32),
        history_popularity=np.ones(USERS, dtype=np.float32),
    )


def write(
    runs: Path,
    method: str,
    seed: int,
    ranks: np.ndarray,
    users: np.ndarray,
    surroundings: Context,
    parent: str | None = None,
) -> str:
    """The id of the fit whose bundle is written."""
    fit = FitSpec(
        method=method,
        method_version=1,
        params={},
        dataset="made-up",
        split="cc",
        limit_users=None,
        llm={"paradigm": "semantic-id", "backbone": "tiny", "train": TRAIN},
        parent=parent,
        seed=seed,
    )
    protocol = get_protocol("ilrec").evaluation_part()
    spec = RunSpec(fit=fit, ranker={"name": "exact"}, protocol=protocol)
    staging = bundle.create(runs, spec.id)
    bundle.write_arrays(staging / "ranks.npz", ranks=ranks, users=users)
    request_features.write(staging, surroundings)
    bundle.write_json(staging / "metrics.json", metrics.summary(ranks, protocol["cutoffs"]))
    seconds = {"fit": 60.0, "rank": 5.0, "total": 65.0}
    bundle.write_json(staging / "efficiency.json", {"seconds": seconds, "trained_tokens": 10**6})
    lines = [json.dumps({"step": 10 * step, "loss": 5.0 / (step + 1), "lr": 1e-4}) for step in range(50)]
    (staging / "train.jsonl").write_text("\n".join(lines) + "\n")
    digests = {"raw": "aa", "log": "bb", "split": "cc", "catalogue": "dd"}
    manifest = Manifest(spec=spec, label=method, digests=digests, num_requests=USERS)
    bundle.finish(staging, manifest, status="complete")
    return fit.id


def measure(root: Path) -> dict[str, float]:
    """Seconds, GiB and MiB of one board."""
    from recbench.board import build
    from recbench.board import folder as records

    start, cpu_start, waited_start = time.perf_counter(), time.process_time(), waited()
    bundles = [bundle.load(folder) for folder in bundle.find(root / "runs")]
    loaded = time.perf_counter()
    board = build.build(bundles)
    built = time.perf_counter()
    forms = records.write(root / "leaderboards" / "local", board, bundles)
    written, cpu_written, waited_written = time.perf_counter(), time.process_time(), waited()
    records.check(root / "leaderboards" / "local")
    return {
        "processor": cpu_written - cpu_start,
        "wall": written - start,
        "waiting": waited_written - waited_start,
        "reading": loaded - start,
        "computing": built - loaded,
        "writing": written - built,
        "check": time.process_time() - cpu_written,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "forms": len(forms),
        "size": sum((root / "leaderboards" / "local" / name).stat().st_size for name in forms) / 2**20,
    }


def waited() -> float:
    """Seconds so far in which this process could run and had no processor; NaN where nobody counts them."""
    counted = Path("/proc/self/schedstat")
    return int(counted.read_text().split()[1]) / 1e9 if counted.exists() else float("nan")


if __name__ == "__main__":
    main()
