"""Measure the first code's predictive gain (nats), collisions, codes in use and reconstruction error of
semantic ids, a row for each recipe.

    RECBENCH_DATA=... python benchmarks/identifiers.py game instrument source=given source=residual-kmeans

Arguments without `=` are datasets; the others are recipes, as in `--set identifiers.KEY=VALUE`.
Collisions are counted before any are resolved. Prints a Markdown table, row by row.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import fits

from recbench.base import params
from recbench.data import TrainingData
from recbench.dataset.split import load_training
from recbench.llm.items.identifiers import make_identifiers
from recbench.settings import IdentifierSettings

HEAD = (
    "dataset",
    "recipe",
    "gain",
    "distinct of items",
    "collision rate",
    "codes per level",
    "error",
    "seconds",
)


def row(name: str, data: TrainingData, recipe: str, *, device: str) -> tuple[str, ...]:
    values = params.parse_assignments(recipe.split(","))
    settings = params.build(IdentifierSettings, {**values, "collisions": "share"}, what="identifiers")
    start = time.process_time()
    made = make_identifiers(data, settings, device=device)
    facts, items = made.facts, len(data.catalogue)
    error = facts.get("reconstruction_error")
    return (
        name,
        recipe.replace("source=", "").replace("embedding=", ""),
        f"{facts['predictive_gain']:.3f}",
        f"{round((1 - facts['collision_rate']) * items):,} of {items:,}",
        f"{facts['collision_rate']:.2%}",
        " / ".join(map(str, facts["codes_per_level"])),
        "" if error is None else f"{error:.3f}",
        f"{time.process_time() - start:.0f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="+", metavar="DATASET|KEY=VALUE,...")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for name in (word for word in args.what if "=" not in word):
        split = fits.prepared(name, args.root)
        data = load_training(split.folder)
        for recipe in (word for word in args.what if "=" in word):
            print(f"| {' | '.join(row(name, data, recipe, device=args.device))} |", flush=True)


if __name__ == "__main__":
    main()
