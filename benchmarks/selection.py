"""Hold `train.select=best` against `last` on held-out halves of validation.

    python benchmarks/selection.py fit ml-100k --ledger benchmarks/tuning/selection-ml-100k.jsonl
    python benchmarks/selection.py report benchmarks/tuning/selection-*.jsonl

`fit` trains each method once a seed, and records the rank of every validation target after each of the five
evaluations of its stage: one training gives both rules, because evaluations do not change it. Preference
methods start from the last weights of `sft` under both rules. It continues where the ledger ends.

`report` draws halves of the users at random. The evaluation that is best on one half is scored on the other,
and the other way round; a user's difference from the last evaluation is a mean over the draws. The interval
is that of `recbench compare`, over users crossed with seeds. No test target is read.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fits
import numpy as np
from numpy.typing import NDArray

from recbench.base import params
from recbench.comparison.significance import crossed_t
from recbench.data import TrainingData
from recbench.dataset import split
from recbench.llm import LLMMethod, rank_catalogue
from recbench.llm.decoding.validation import drawn
from recbench.method import LLMRun, ParentFit, RunContext
from recbench.planning import registry
from recbench.planning.resolve import Selection, resolve
from recbench.results import metrics
from recbench.results.evaluate import target_ranks
from recbench.stages import StageCache

METHODS = ("sft", "ilrec", "sdpo")
HALVINGS = 500


class Recorder:
    """Remembers the target ranks of each evaluation; the last is always the best, so the weights stay."""

    def __init__(self, policy: Any, data: TrainingData, run: LLMRun) -> None:
        self.policy, self.data, self.run = policy, data, run
        self.users = drawn(len(data.valid.target))
        self.ranks: list[list[int]] = []
        self.seconds = 0.0

    def __call__(self) -> tuple[float, int]:
        began, valid = time.perf_counter(), self.data.valid
        asked = valid.requests.take(self.users)
        ranking = rank_catalogue(self.policy, asked, data=self.data, k=10, run=self.run)
        self.ranks.append(target_ranks(ranking.items, valid.target[self.users]).tolist())
        self.seconds += time.perf_counter() - began
        return float(len(self.ranks)), 0


def fit(
    name: str, dataset: str, data: TrainingData, *, seed: int, root: Path, settings: Mapping[str, str]
) -> dict[str, Any]:
    """Train one method, and leave its weights under the root for those that start from them."""
    resolved = resolve(
        Selection(method=name, dataset=dataset, seed=seed, settings={**settings, "train.select": "best"})
    )
    assert resolved.llm is not None
    method = registry.load(name).build(resolved.params)
    assert isinstance(method, LLMMethod)
    folder = root / "selection" / dataset / f"{name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    parent = None
    if resolved.needs_parent:
        last = replace(resolved.llm, train=replace(resolved.llm.train, select="last"))
        where = folder.with_name(f"sft-{seed}")
        parent = ParentFit(id=f"{where}", workdir=where, trained_tokens=0, llm=last)
    run = RunContext(
        seed=seed, workdir=folder, stages=StageCache(root / "cache"), threads=1, parent=parent
    ).with_llm(resolved.llm)
    policy = method.start(data, run)
    policy.validate = recorder = Recorder(policy, data, run)
    began = time.perf_counter()
    method.train(policy, data, run)
    seconds = time.perf_counter() - began
    policy.save(folder / "model")
    (chosen,) = policy.selected.values()
    return {
        "method": name,
        "seed": seed,
        "split": data.digests["split"],
        "params": resolved.params,
        "train": params.resolved(resolved.llm.train),
        "identifiers": params.resolved(resolved.llm.identifiers),
        "steps": chosen.steps,
        "valid_ndcg_at_10": [round(ndcg(ranks), 6) for ranks in recorder.ranks],
        "seconds": round(seconds, 1),
        "selection_seconds": round(recorder.seconds, 1),
        "ranks": recorder.ranks,
    }


def ndcg(ranks: Sequence[int]) -> float:
    return float(metrics.per_request(np.array(ranks), "ndcg@10").mean())


def held_out(gains: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """[U] gain over the last evaluation, each user's from evaluations chosen by users of the other half.

    `gains` is [evaluations, U]. Equal means keep the earlier evaluation, as the trainer does.
    """
    total = np.zeros(gains.shape[1])
    for _ in range(HALVINGS):
        order = rng.permutation(gains.shape[1])
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        for choosing, scored in ((first, second), (second, first)):
            chosen = int(gains[:, choosing].mean(1).argmax())
            total[scored] += gains[chosen, scored] - gains[-1, scored]
    return total / HALVINGS


def report(ledgers: Sequence[Path]) -> None:
    for ledger in ledgers:
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in ledger.read_text().splitlines():
            record = json.loads(line)
            rows[record["method"]].append(record)
        every: list[NDArray[np.float64]] = []
        for method, records in rows.items():
            gains = [
                np.stack([metrics.per_request(np.array(r), "ndcg@10") for r in one["ranks"]])
                for one in records
            ]
            gained = np.stack([held_out(one, np.random.default_rng(0)) for one in gains])
            every.append(gained)
            share = sum(one["selection_seconds"] for one in records) / sum(one["seconds"] for one in records)
            best = [int(one.mean(1).argmax()) + 1 for one in gains]
            _print(
                ledger.stem, method, gained, f"best on all users: {best}, {share:.0%} of the training's time"
            )
            print(
                "    " + "  ".join(" ".join(f"{v:.4f}" for v in one["valid_ndcg_at_10"]) for one in records)
            )
        seeds = min(len(gained) for gained in every)
        _print(ledger.stem, "all", np.mean([gained[:seeds] for gained in every], axis=0), "")


def _print(where: str, method: str, gained: NDArray[np.float64], more: str) -> None:
    test = crossed_t(gained, np.zeros_like(gained), joint=True)
    interval = f"[{test.low:+.4f}, {test.high:+.4f}]"
    print(f"{where} {method}: best - last {test.difference:+.4f} {interval} p {test.p:.3f} {more}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=("fit", "report"))
    parser.add_argument("what", nargs="+", metavar="DATASET|LEDGER")
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--limit-users", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    args = parser.parse_args()
    if args.verb == "report":
        return report([Path(one) for one in args.what])
    (dataset,) = args.what
    prepared = fits.prepared(dataset, args.root, users=args.limit_users)
    data = split.load_training(prepared.folder)
    lines = args.ledger.read_text().splitlines() if args.ledger.exists() else []
    settings = dict(one.split("=", 1) for one in args.settings)
    done = {(one["method"], one["seed"]) for one in map(json.loads, lines)}
    for seed in range(args.seeds):
        for name in METHODS:
            if (name, seed) in done:
                continue
            record = fit(name, dataset, data, seed=seed, root=args.root, settings=settings)
            fits.append(record, args.ledger)
            print(json.dumps({key: value for key, value in record.items() if key != "ranks"}), flush=True)
    return None


if __name__ == "__main__":
    main()
