"""Show the smoothing that RosePO's pairs get, as a histogram, for several readings of the paper.

    python benchmarks/rosepo_epsilon.py ml-100k --ledger benchmarks/tuning/rosepo-epsilon-ml-100k.jsonl

Trains `sft` with `tiny` on the users of a dataset, lets every reading choose rejected items for at most
`--rows` packed rows of about 20 examples, and counts epsilon. A line of the ledger has the shares of epsilon
between the `EDGES`, the share at the reading's cap (clipped), and the share that would be above 0.5 without a
cap: pairs in which SASRec prefers the rejected item. Nothing else is trained, and no test target is read.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import fits
import numpy as np
import torch

from recbench.base.params import parse_selection
from recbench.data import TrainingData
from recbench.dataset import split
from recbench.llm import next_item, personal_smoothing, restore_policy
from recbench.llm.signals.samplers import Draw
from recbench.llm.signals.smoothing import smoothing_report
from recbench.method import LLMRun
from recbench_methods.rosepo import RosePO

EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
READINGS = (
    "rosepo:negatives=self-hard,cap=0.49",
    "rosepo:negatives=self-hard,cap=0.25",
    "rosepo:negatives=self-hard,cap=0.1",
    "rosepo:negatives=similar,cap=0.49",
    "rosepo:negatives=popularity,cap=0.49",
)
"""The first is the reading that recbench began with."""


def smoothing(reading: str, data: TrainingData, run: LLMRun) -> dict[str, Any]:
    """The smoothing of a reading's pairs."""
    words = parse_selection(reading)[1]
    cap = float(words["cap"])
    method = RosePO(negatives=words["negatives"], cap=cap, num_negatives=1)
    policy = restore_policy(data, run, workdir=run.needed_parent.workdir)
    examples = next_item(policy.prompts, data, run)
    ask = Draw(policy=policy, examples=examples, data=data, run=run, count=1, weights="parent")
    rejected = method.reject(ask)[:, :1]
    personal = personal_smoothing(examples, rejected, data, run, cap=cap)
    everyone, asked = torch.arange(len(rejected)), torch.from_numpy(rejected)
    kept = (asked >= 0)[:, 0]
    s_w, s_l = (side[kept, 0] for side in personal.scores(everyone, asked))
    epsilon = personal(everyone, asked)[kept, 0]
    free = torch.sigmoid((s_l - s_w) / personal.temperature)
    counts, _ = np.histogram(epsilon.numpy(), bins=EDGES)
    return {
        "pairs": int(kept.sum()),
        "temperature": round(personal.temperature, 4),
        "histogram": [round(float(share), 4) for share in counts / max(int(kept.sum()), 1)],
        "above_half_without_cap": round(float((free > 0.5).float().mean()), 4),
        **{name: round(value, 4) for name, value in smoothing_report(s_w, s_l, epsilon, cap=cap).items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--users", type=int, help="at most so many users of the dataset")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--epochs", type=float, help="of sft; by default those of its recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--root", type=Path, default=Path())
    args = parser.parse_args()
    torch.set_num_threads(1)
    prepared = fits.prepared(args.dataset, args.root, users=args.users)
    data = split.load_training(prepared.folder)
    edges = " ".join(f"{low:g}-{high:g}" for low, high in pairwise(EDGES))
    print(f"epsilon between {edges}; then at the cap, mean, and SASRec's accuracy on the pairs")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)

        def begin(method: str, words: Mapping[str, str]) -> LLMRun:
            where, stages = place / method, place / "stages"
            return fits.begin(method, args.dataset, where, seed=args.seed, stages=stages, settings=words)

        started = fits.parent(
            data, begin("sft", {} if args.epochs is None else {"train.epochs": str(args.epochs)})
        )
        run = replace(begin("rosepo", {"train.max_rows": str(args.rows)}), parent=started)
        for reading in READINGS:
            found = smoothing(reading, data, run)
            record = {
                "dataset": args.dataset,
                "users": prepared.num_users,
                "split": data.digests["split"],
                "seed": args.seed,
                "reading": reading,
                **found,
            }
            bars = " ".join(f"{share:5.1%}" for share in found["histogram"])
            print(
                f"{reading:40s} {bars} | {found['smoothing_clipped_share']:.1%} "
                f"{found['smoothing_mean']:.3f} {found['oracle_accuracy']:.1%}",
                flush=True,
            )
            fits.append(record, args.ledger)


if __name__ == "__main__":
    main()
