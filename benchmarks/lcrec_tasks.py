"""Hold SFT on the next item alone against SFT on LC-Rec's six tasks, on validation items.

    python benchmarks/lcrec_tasks.py shares game
    python benchmarks/lcrec_tasks.py fit game --users 10000 --ledger benchmarks/tuning/lcrec-tasks-game.jsonl
    python benchmarks/lcrec_tasks.py report benchmarks/tuning/lcrec-tasks-game.jsonl

`shares` prints what each task has of the tokens of an epoch, and trains nothing. `fit` trains each arm once a
seed and ranks at most 2,000 validation users, drawn once; it continues where the ledger ends. An arm is a
value of `train.tasks` and a budget: `equal` is the tokens of the recipe's epochs of the next item, for every
value of `train.tasks`; `large` is the tokens of as many epochs of all six tasks.

`report` prints these shares for the users of the ledger, and the NDCG@10 of each arm with the difference from
the next item at the same budget; its interval is that of `recbench compare`, over users crossed with seeds.
No test target is read.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fits
import numpy as np
import torch

from recbench.base import params
from recbench.base.progress import Silent
from recbench.comparison.significance import crossed_t
from recbench.data import TrainingData
from recbench.dataset import split
from recbench.llm import rank_catalogue, training_rows
from recbench.llm.decoding.validation import drawn
from recbench.llm.training.pack import num_tokens
from recbench.method import LLMRun
from recbench.results import metrics
from recbench.results.evaluate import target_ranks
from recbench_methods.sft import SFT

Words = Mapping[str, str]
ONE, FOUR, SIX = "next-item", "lc-rec-titles", "lc-rec"
ARMS = ((ONE, "equal"), (FOUR, "equal"), (SIX, "equal"), (ONE, "large"), (SIX, "large"))


class Counts(Silent):
    """What a training counts."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}

    def count(self, **values: int) -> None:
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0) + value


def begin(arm: str, tasks: str, dataset: str, *, seed: int, root: Path, words: Mapping[str, str]) -> LLMRun:
    folder = root / "lcrec-tasks" / dataset / f"{arm}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)  # a checkpoint in it may be of other settings
    settings = {**words, "train.tasks": tasks}
    return fits.begin("sft", dataset, folder, seed=seed, stages=root / "cache", settings=settings)


def epoch(data: TrainingData, run: LLMRun) -> tuple[int, dict[str, dict[str, float]]]:
    """Tokens of an epoch of the run's tasks, and what each task has of them."""
    made = training_rows(SFT().start(data, run), data, run)
    return num_tokens(made.rows), made.tasks


def fit(data: TrainingData, run: LLMRun, *, budget: int) -> dict[str, Any]:
    """Train on `budget` tokens and rank."""
    counts, method = Counts(), SFT()
    run = replace(run, token_budget=budget, report=counts)
    policy = method.start(data, run)
    began = time.process_time()
    method.train(policy, data, run)
    trained = time.process_time() - began
    users, valid = drawn(len(data.valid.target)), data.valid
    ranking = rank_catalogue(policy, valid.requests.take(users), data=data, k=10, run=run)
    ranks = target_ranks(ranking.items, valid.target[users])
    return {
        "train": params.resolved(run.llm.train),
        "identifiers": params.resolved(run.llm.identifiers),
        "split": data.digests["split"],
        "budget": budget,
        **counts.totals,
        "tasks": policy.tasks,
        "valid_ndcg_at_10": round(float(metrics.per_request(ranks, "ndcg@10").mean()), 6),
        "train_seconds": round(trained, 1),
        "seconds": round(time.process_time() - began, 1),
        "ranks": ranks.tolist(),
    }


def fit_all(
    dataset: str,
    data: TrainingData,
    ledger: Path,
    *,
    seeds: int,
    budgets: Sequence[str],
    root: Path,
    words: Words,
) -> None:
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    done = {(one["arm"], one["seed"]) for one in map(json.loads, lines)}
    for seed in range(seeds):
        sizes = {
            tasks: epoch(data, begin("sizes", tasks, dataset, seed=seed, root=root, words=words))[0]
            for tasks in (ONE, SIX)
        }
        for tasks, budget in ARMS:
            arm = f"{tasks}, {budget}"
            if (arm, seed) in done or budget not in budgets:
                continue
            run = begin(arm, tasks, dataset, seed=seed, root=root, words=words)
            total = round(run.llm.train.epochs * sizes[ONE if budget == "equal" else SIX])
            record = {"arm": arm, "seed": seed, **fit(data, run, budget=total)}
            fits.append(record, ledger)
            print(json.dumps({key: value for key, value in record.items() if key != "ranks"}), flush=True)


def shares(tasks: Mapping[str, Mapping[str, float]]) -> None:
    print("| task | examples | tokens | share |\n|---|---|---|---|")
    for task, own in tasks.items():
        print(f"| {task} | {own['examples']:,.0f} | {own['tokens']:,.0f} | {own['share']:.1%} |")


def report(ledger: Path) -> None:
    arms: dict[str, list[dict[str, Any]]] = {}
    for line in ledger.read_text().splitlines():
        record = json.loads(line)
        arms.setdefault(record["arm"], []).append(record)
    gains = {
        arm: np.stack([metrics.per_request(np.array(one["ranks"]), "ndcg@10") for one in records])
        for arm, records in arms.items()
    }
    shares(next((records[0]["tasks"] for arm, records in arms.items() if arm.startswith(f"{SIX},")), {}))
    print("\n| train.tasks, budget | trained tokens | NDCG@10 by seed | mean | minus the next item | 95 % |")
    print("|---|---|---|---|---|---|")
    for arm, records in arms.items():
        values = " / ".join(f"{one['valid_ndcg_at_10']:.4f}" for one in records)
        cells = [arm, f"{records[0]['trained_tokens']:,}", values, f"{gains[arm].mean():.4f}"]
        other = gains.get(f"{ONE}, {arm.rpartition(' ')[2]}")
        if other is not None and not arm.startswith(ONE) and len(other) == len(gains[arm]):
            test = crossed_t(gains[arm], other, joint=False)
            cells += [f"{test.difference:+.4f}", f"{test.low:+.4f} to {test.high:+.4f}"]
        print(f"| {' | '.join([*cells, '', ''][:6])} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=("shares", "fit", "report"))
    parser.add_argument("what", metavar="DATASET|LEDGER")
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--users", type=int, help="at most so many users of the dataset")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", nargs="+", choices=("equal", "large"), default=("equal", "large"))
    parser.add_argument("--set", dest="words", action="append", default=[])
    args = parser.parse_args()
    if args.verb == "report":
        return report(Path(args.what))
    torch.set_num_threads(1)
    prepared = fits.prepared(args.what, args.root, users=args.users)
    data = split.load_training(prepared.folder)
    words = dict(one.split("=", 1) for one in args.words)
    if args.verb == "shares":
        return shares(epoch(data, begin("sizes", SIX, args.what, seed=0, root=args.root, words=words))[1])
    return fit_all(
        args.what,
        data,
        args.ledger,
        seeds=args.seeds,
        budgets=args.budget,
        root=args.root,
        words=words,
    )


if __name__ == "__main__":
    main()
