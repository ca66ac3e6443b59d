"""Effects of loss and negatives, from the runs of leaderboards/losses-and-negatives.

    recbench run --study losses-and-negatives                  # here or on a cluster
    python benchmarks/factorial.py --root ROOT                 # the table and the effects, on test items
    python benchmarks/factorial.py --root ROOT --phase valid
    python benchmarks/factorial.py --root ROOT --csv FILE      # also a line for each run

A main effect is a loss's mean over all samplers less the mean of all cells, an interaction what a cell has
beyond both main effects. Intervals are of the crossed t over users and seeds. A cell without all seeds is
named, and then there are no effects.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recbench.comparison.significance import crossed_t
from recbench.data import Floats
from recbench.results import bundle
from recbench.results.bundle import Bundle

LOSSES = ("dpo", "sdpo", "dmpo", "simpo")
SAMPLERS = ("uniform", "popularity", "sasrec-hard", "self-hard", "self-topk")
COSTS = ("trained_tokens", "forward_tokens", "compute_tokens")
Cells = Mapping[tuple[str, str], Floats]  # [S, U] of each loss and sampler


def finished(root: Path, phase: str, count: int) -> dict[tuple[str, str], list[Bundle]]:
    """The complete runs with `count` negatives, by loss and sampler; beta of a loss with a reference is 1."""
    found: dict[tuple[str, str], dict[int, Bundle]] = {}
    for folder in sorted((root / "runs").iterdir()):
        if folder.name.startswith("."):
            continue
        run = bundle.load(folder)
        fit = run.spec.fit
        wanted = fit.method in LOSSES and run.status == "complete" and run.spec.phase == phase
        if not wanted or fit.params["num_negatives"] != count or fit.params["beta"] not in (1.0, 2.0):
            continue
        cell = (fit.method, str(fit.params["negatives"]))
        found.setdefault(cell, {})[int(fit.seed or 0)] = run
    return {cell: [runs[seed] for seed in sorted(runs)] for cell, runs in found.items()}


def table(runs: Mapping[tuple[str, str], list[Bundle]], metric: str) -> Cells:
    """The metric of each user under each seed, users in the order of the first run."""
    cells = {}
    first = next(iter(runs.values()))[0]
    for cell, seeds in runs.items():
        for run in seeds:
            assert np.array_equal(run.users, first.users), "runs on different users"
        cells[cell] = np.stack([run.per_request(metric) for run in seeds])
    return cells


def effects(cells: Cells, losses: tuple[str, ...], samplers: tuple[str, ...]) -> dict[str, Floats]:
    """[S, U] contrasts by name: main effects, then interactions."""
    whole = np.stack([np.stack([cells[loss, one] for one in samplers]) for loss in losses])  # [L, N, S, U]
    grand, of_loss, of_sampler = whole.mean((0, 1)), whole.mean(1), whole.mean(0)
    found = {f"loss {loss}": of_loss[i] - grand for i, loss in enumerate(losses)}
    found |= {f"negatives {one}": of_sampler[j] - grand for j, one in enumerate(samplers)}
    for i, loss in enumerate(losses):
        for j, one in enumerate(samplers):
            found[f"{loss} x {one}"] = whole[i, j] - of_loss[i] - of_sampler[j] + grand
    return found


def report(root: Path, *, phase: str, metric: str, count: int, seeds: int) -> None:
    runs = finished(root, phase, count)
    print(f"{metric}, {count} negatives, mean of seeds; tokens trained, read alone, and compute; seconds")
    for cell, found in sorted(runs.items()):
        mean = np.mean([run.metrics[metric] for run in found])
        costs = [np.mean([run.efficiency.get(name) or 0 for run in found]) for name in COSTS]
        costs.append(np.mean([run.efficiency["seconds"]["fit"] for run in found]))
        words = "  ".join(f"{cost:,.0f}" for cost in costs)
        print(f"  {cell[0]:6} {cell[1]:12} {mean:.4f}  seeds {len(found)}  {words}")
    losses = tuple(loss for loss in LOSSES if any(cell[0] == loss for cell in runs))
    samplers = tuple(one for one in SAMPLERS if any(cell[1] == one for cell in runs))
    missing = [
        f"{loss} x {one}" for loss in losses for one in samplers if len(runs.get((loss, one), [])) != seeds
    ]
    if missing or min(len(losses), len(samplers)) < 2:
        print(
            f"  no effects: {', '.join(missing) or 'fewer than two losses or samplers'} without {seeds} seeds"
        )
        return
    for name, values in effects(table(runs, metric), losses, samplers).items():
        test = crossed_t(values, np.zeros_like(values), joint=True)
        print(f"  {name:24} {test.difference:+.4f} [{test.low:+.4f}, {test.high:+.4f}] p {test.p:.3f}")


def write_lines(path: Path, root: Path, phase: str, metric: str) -> None:
    """A line for each run of the factorial."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["loss", "negatives", "num_negatives", "seed", metric, *COSTS, "fit_seconds"])
        for count in (5, 1):
            for cell, runs in sorted(finished(root, phase, count).items()):
                for run in runs:
                    costs = [run.efficiency.get(name) or 0 for name in COSTS]
                    fit = f"{run.efficiency['seconds']['fit']:.1f}"
                    writer.writerow([*cell, count, run.seed, f"{run.metrics[metric]:.6f}", *costs, fit])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--phase", choices=("valid", "test"), default="test")
    parser.add_argument("--metric", default="ndcg@10")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    if args.csv:
        write_lines(args.csv, args.root, args.phase, args.metric)
    for count in (5, 1):
        report(args.root, phase=args.phase, metric=args.metric, count=count, seeds=args.seeds)


if __name__ == "__main__":
    main()
