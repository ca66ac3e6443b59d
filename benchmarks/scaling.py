"""Time and memory against users, items, tokens, places, negatives and runs, and how steeply they grow.

    python benchmarks/scaling.py [--only trie scores] [--image docs/images/scaling.svg]

A process for each point: seconds of the processor, and the peak of its memory above what it had when the
work began, which needs Linux. The slope is that of a line through the logarithms of the larger half of the
points, where what is done once no longer counts: 1 is proportional. Models are of a toy shape with random
weights, and a search ends after as many nodes as a trained model takes, so that what is left is what the size
itself costs.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from plots import panels

NODES, BATCH, LEVELS, CODES = 128, 8, 4, 256
SWEEPS: dict[str, tuple[str, str, list[int], str]] = {
    "trie": ("the trie of semantic ids", "items", [10_000, 30_000, 100_000, 300_000, 1_000_000], "1"),
    "search": (f"exact search, {NODES} nodes, 8 users", "items", [10_000, 100_000, 1_000_000], "0"),
    "prompt": (f"exact search, {NODES} nodes, 8 users", "tokens of a prompt", [32, 128, 512], "<= 1"),
    "places": (f"exact search, {NODES} nodes, 8 users", "places (K)", [5, 20, 80], "<= 1"),
    "scores": (
        "the best 20 of 512 users' scores",
        "items",
        [10_000, 30_000, 100_000, 300_000, 1_000_000],
        "1",
    ),
    "metrics": ("ranks and metrics", "users", [10_000, 30_000, 100_000, 300_000, 1_000_000], "1"),
    "negatives": ("a step of sdpo, 8 rows", "negatives", [1, 4, 16], "<= 1"),
    "board": ("a board, 2,000 users, 5 seeds", "runs", [10, 20, 40], "1 to 2: pairs"),
}
"""What is swept, the name of its axis, its values, and the slope that it should have."""
PROCESS = Path("/proc/self")
Work = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(SWEEPS), choices=list(SWEEPS))
    parser.add_argument("--image", type=Path, help="an SVG image of all that is measured")
    parser.add_argument("--point", nargs=2, metavar=("SWEEP", "SIZE"), help="measure one point, as JSON")
    args = parser.parse_args()
    if args.point is not None:
        print(json.dumps(measured(args.point[0], int(args.point[1]))))
        return
    print("| what | against | sizes | seconds | MiB | slope of time | of memory | should be |")
    print("|---|---|---|---|---|---|---|---|")
    charts = []
    for name in args.only:
        title, axis, sizes, wanted = SWEEPS[name]
        points = [in_process(name, size) for size in sizes]
        seconds, memory = ([max(point[key], 1e-4) for point in points] for key in ("seconds", "mib"))
        cells = [", ".join(f"{value:.3g}" for value in values) for values in (seconds, memory)]
        slopes = f"{slope(sizes, seconds):.2f} | {slope(sizes, memory):.2f}"
        spread = f"{sizes[0]:,} to {sizes[-1]:,}"
        print(f"| {title} | {axis} | {spread} | {' | '.join(cells)} | {slopes} | {wanted} |", flush=True)
        curves = {"seconds": seconds, "MiB": memory}
        curves_at = {key: list(zip(sizes, values, strict=True)) for key, values in curves.items()}
        charts.append((title, axis, curves_at))
    if args.image is not None:
        args.image.parent.mkdir(parents=True, exist_ok=True)
        args.image.write_text(panels(charts))


def slope(sizes: list[int], values: list[float]) -> float:
    """Of the logarithms, over the larger half of the points."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])


def in_process(name: str, size: int) -> dict[str, float]:
    words = [sys.executable, __file__, "--point", name, str(size)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    point: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return point


def measured(name: str, size: int) -> dict[str, float]:
    """The processor's seconds of the work, and MiB of its peak above what the process had before."""
    work = {
        "trie": trie,
        "search": lambda items: search(items=items),
        "prompt": lambda tokens: search(tokens=tokens),
        "places": lambda places: search(places=places),
        "scores": scores,
        "metrics": metrics,
        "negatives": negatives,
        "board": board,
    }[name](size)
    gc.collect()
    PROCESS.joinpath("clear_refs").write_text("5")  # the peak begins anew
    before, started = memory("VmRSS"), time.process_time()
    found = work()
    seconds = found if isinstance(found, float) else time.process_time() - started
    return {"seconds": seconds, "mib": memory("VmHWM") - before}


def memory(name: str) -> float:
    """MiB of this process: `VmRSS` now, `VmHWM` at the peak."""
    lines = PROCESS.joinpath("status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def codes(items: int) -> list[list[int]]:
    """Identifiers of four codes and an end, spread so that two levels branch."""
    rng = np.random.default_rng(0)
    drawn = np.unique((rng.beta(0.6, 1.4, (items, LEVELS)) * CODES).astype(int), axis=0)
    ends = np.full((len(drawn), 1), 1 + LEVELS * CODES)
    found: list[list[int]] = np.concatenate([1 + CODES * np.arange(LEVELS) + drawn, ends], axis=1).tolist()
    return found


def trie(items: int) -> Work:
    from recbench.llm.items.trie import Trie

    identifiers = codes(items)
    return lambda: Trie.build(identifiers)


def search(*, items: int = 10_000, tokens: int = 64, places: int = 10) -> Work:
    import torch
    from shapes import quiet, random_model

    from recbench.llm.decoding.search import SearchPlan, search_exact
    from recbench.llm.items.trie import Trie

    quiet()
    torch.set_num_threads(1)
    model, built = random_model("toy", "cpu"), Trie.build(codes(items))
    prompts = np.random.default_rng(0).integers(0, 2048, (BATCH, tokens)).tolist()
    plan = SearchPlan(budget=NODES, exhaustive_nodes=0)
    tie = np.arange(built.num_items)
    search_exact(model, built, [prompts[0][:8]], k=10, tie=tie, plan=plan)  # tables and kernels, once
    return lambda: search_exact(model, built, prompts, k=places, tie=tie, plan=plan)


def scores(items: int) -> Work:
    from recbench.ranking import rank_by_scores

    rng = np.random.default_rng(0)
    values = rng.standard_normal((512, items), dtype=np.float32)
    popularity = rng.integers(0, 1000, items)
    return lambda: rank_by_scores(values, popularity, k=20)


def metrics(users: int) -> Work:
    from recbench.results import evaluate
    from recbench.results import metrics as measures

    rng = np.random.default_rng(0)
    lists, targets = rng.integers(0, 10_000, (users, 20)), rng.integers(0, 10_000, users)
    return lambda: measures.summary(evaluate.target_ranks(lists, targets), (1, 5, 10, 20))


def negatives(count: int) -> Work:
    """The median step, timed by itself."""
    import torch
    from shapes import Timed, backbone_of, quiet, settings

    from recbench.testing import toy_data
    from recbench_methods.sdpo import SDPO
    from recbench_methods.sft import SFT

    quiet()
    torch.set_num_threads(1)

    def work() -> float:
        data = toy_data(num_users=60, num_items=200, longest=20)
        with (
            tempfile.TemporaryDirectory() as folder,
            backbone_of("toy", "cpu", Path(folder) / "model", num_items=200) as name,
        ):
            timed = Timed("cpu")
            run = settings("sdpo", name, Path(folder), timed, batch=8, steps=6)
            SDPO(num_negatives=count).train(SFT().start(data, run), data, run)
            return timed.step

    return work


def board(runs: int) -> Work:
    import bench_board

    root = Path(tempfile.mkdtemp())
    bench_board.METHODS, bench_board.SEEDS, bench_board.USERS = runs // 5, 5, 2_000
    bench_board.make(root / "runs")

    def work() -> None:
        bench_board.measure(root)

    return work


if __name__ == "__main__":
    main()
