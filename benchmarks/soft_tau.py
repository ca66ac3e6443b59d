"""Show how SOFT's tau moves over its epochs where answers are told from targets by text, and by interactions.

    python benchmarks/soft_tau.py ml-100k --users 300 --ledger benchmarks/tuning/soft-tau-ml-100k.jsonl
    python benchmarks/soft_tau.py toys --users 4000 --ledger benchmarks/tuning/soft-tau-toys.jsonl

Trains `sft` with `tiny` on the users of a dataset, and on its answers SOFT twice: with the distance of items
in the space of their titles' TF-IDF vectors, as recbench had it, and with that in the space of training
interactions, as it has it. A line of the ledger has, before each epoch, the mean distance between 256 answers
and their targets, tau before it is clipped, and tau; and in its space how far the answers of the finished
`sft` and random items are from these targets. No test target is read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import fits
import numpy as np
import torch

from recbench.base.progress import Silent
from recbench.data import Ints, TrainingData
from recbench.dataset import split
from recbench.llm import (
    Distillation,
    DistillationSchedule,
    next_item,
    restore_policy,
    text_space,
    train,
    training_answers,
    with_rejected,
)
from recbench.llm.signals.distillation import interaction_vectors
from recbench.method import LLMRun
from recbench_methods.soft import SOFT

Space = Literal["text", "interactions"]


class Curve(Silent):
    """The values that a schedule logs before each epoch."""

    def __init__(self) -> None:
        self.points: list[dict[str, Any]] = []

    def log(self, **values: float | int | str) -> None:
        if "tau" in values:
            self.points.append(values)


def curve(data: TrainingData, run: LLMRun, kind: Space, alpha: float) -> dict[str, Any]:
    """Train SOFT with the distance of one space: what `SOFT.train` does, and its reference distances."""
    method, report = SOFT(alpha=alpha), Curve()
    run = replace(run, report=report)
    policy = method.start(data, run)
    examples = next_item(policy.prompts, data, run)
    teacher = restore_policy(data, run, workdir=run.needed_parent.workdir)
    space = text_space(teacher, data, run)
    answers = training_answers(teacher, examples, data, run, None, weights=run.needed_parent.id)
    rows = with_rejected(policy.prompts, examples, [[response] for response in answers.responses])
    objective = Distillation()
    schedule = DistillationSchedule(method, objective, policy, examples, data, run, space)
    schedule.vectors = space.vectors if kind == "text" else interaction_vectors(data)
    sample = run.rng("sample").permutation(len(examples))[: method.sample]  # as the schedule draws it
    drawn = run.rng("random items").integers(0, data.num_items, len(sample))
    reference = {
        "finished_sft": apart(schedule.vectors, answers.items[sample], examples.target[sample]),
        "random_items": apart(schedule.vectors, drawn, examples.target[sample]),
    }
    train(policy, rows, objective, settings=run.llm.train, run=run, callbacks=[schedule])
    return {
        "examples": len(examples),
        "epochs": run.llm.train.epochs,
        "answer_is_target_share": round(float((answers.items == examples.target).mean()), 4),
        **{name: round(value, 4) for name, value in reference.items()},
        **{
            name: [round(point[name], 4) for point in report.points]
            for name in ("distance", "tau_raw", "tau")
        },
    }


def apart(vectors: Any, items: Ints, targets: Ints) -> float:
    """Mean distance between the vectors of `items` and of `targets`."""
    return float(np.linalg.norm(np.asarray(vectors[items]) - np.asarray(vectors[targets]), axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--users", type=int, help="at most so many users of the dataset")
    parser.add_argument("--epochs", type=float, help="of sft and of SOFT; by default those of their recipes")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--root", type=Path, default=Path())
    args = parser.parse_args()
    torch.set_num_threads(1)
    prepared = fits.prepared(args.dataset, args.root, users=args.users)
    data = split.load_training(prepared.folder)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        words = {} if args.epochs is None else {"train.epochs": str(args.epochs)}

        def begin(method: str, name: str) -> LLMRun:
            folder, stages = place / name, place / "stages"
            return fits.begin(method, args.dataset, folder, seed=args.seed, stages=stages, settings=words)

        started = fits.parent(data, begin("sft", "sft"))
        for kind in get_args(Space):
            began = time.process_time()
            run = replace(begin("soft", kind), parent=started)
            record = {
                "dataset": args.dataset,
                "users": prepared.num_users,
                "split": data.digests["split"],
                "seed": args.seed,
                "alpha": args.alpha,
                "space": kind,
                **curve(data, run, kind, args.alpha),
                "seconds": round(time.process_time() - began, 1),
            }
            print(json.dumps(record), flush=True)
            fits.append(record, args.ledger)


if __name__ == "__main__":
    main()
