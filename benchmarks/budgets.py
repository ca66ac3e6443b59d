"""Show the steps and tokens that each method of a board trained on, from finished runs of one dataset.

    recbench run -m sft -m sft-continued -m sdpo -m sprec -d ml-100k --root ROOT
    python benchmarks/budgets.py ml-100k --root ROOT [--seed 0]

Of a method that starts from `sft` all columns but the last leave its parent out: optimiser steps, rows of its
training (0: all), trained tokens, and tokens that it read without learning from them (answers, negatives, the
reference). The last column is the trained tokens with the parent's.
Where a fit was ranked more than once, the run that comes first by its id is shown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from recbench.results import bundle
from recbench.results.bundle import Bundle

COLUMNS = ("method", "steps", "rows", "trained tokens", "read tokens", "with the parent's")


def shown(root: Path, dataset: str, seed: int) -> list[Bundle]:
    """The finished runs of language models on all users, a run of each fit, by steps and label."""
    fits: dict[str, Bundle] = {}
    for folder in sorted((root / "runs").iterdir()):
        if folder.name.startswith("."):
            continue
        run = bundle.load(folder)
        fit = run.spec.fit
        if (fit.dataset, fit.seed, fit.limit_users, run.status) != (dataset, seed, None, "complete"):
            continue
        if fit.llm is not None and run.efficiency["counts"].get("steps"):
            fits.setdefault(fit.id, run)
    return sorted(fits.values(), key=lambda run: (run.efficiency["counts"]["steps"], run.label))


def cells(run: Bundle) -> list[str]:
    costs, llm = run.efficiency, run.spec.fit.llm
    assert llm is not None
    own = costs["counts"]
    numbers = (
        own["steps"],
        llm["train"]["max_rows"],
        own["trained_tokens"],
        costs.get("forward_tokens") or 0,
        costs["trained_tokens"],
    )
    return [f"`{run.label}`", *(f"{number:,}" for number in numbers)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for run in shown(args.root, args.dataset, args.seed):
        print(f"| {' | '.join(cells(run))} |")


if __name__ == "__main__":
    main()
