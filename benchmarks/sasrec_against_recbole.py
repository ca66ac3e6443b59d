"""recbench's SASRec beside RecBole's on one split: six trials each on validation, then three seeds on test.

    python benchmarks/sasrec_against_recbole.py --root . tune     # the trials, alternating; appends to the ledger
    python benchmarks/sasrec_against_recbole.py --root . final    # the best trial of each side, three seeds
    python benchmarks/sasrec_against_recbole.py --root . report   # differences and seconds, from the ledger

The two sides take turns, so that what else runs on the machine slows both. Seconds are from the start of `fit`,
preparation and RecBole's start included. Test targets are read after all rankings of `final` are made.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recbench import card, metrics, registry, split
from recbench.evaluate import target_ranks
from recbench.method import Method, RunContext
from recbench.params import parse_selection
from recbench.prepare import prepare
from recbench.protocol import get_protocol
from recbench.significance import crossed_t, two_level_interval
from recbench.stages import StageCache

TRIALS = {
    "ours": [
        "sasrec",
        "sasrec:dropout=0.2",
        "sasrec:dropout=0.4",
        "sasrec:lr=1e-3",
        "sasrec:dim=128,inner=256,dropout=0.2",
        "sasrec:heads=2,inner=256",
    ],
    "recbole": [
        "recbole:batch=256,epochs={e},settings=hidden_dropout_prob=0.2+attn_dropout_prob=0.2",
        "recbole:batch=256,epochs={e},settings=hidden_dropout_prob=0.5+attn_dropout_prob=0.5",
        "recbole:batch=256,epochs={e},lr=3e-3,settings=hidden_dropout_prob=0.2+attn_dropout_prob=0.2",
        "recbole:batch=256,epochs={e},settings=hidden_dropout_prob=0.2+attn_dropout_prob=0.2+n_heads=1+inner_size=128",
        "recbole:batch=512,epochs={e},lr=2e-3,settings=hidden_dropout_prob=0.3+attn_dropout_prob=0.3+n_heads=1+inner_size=128",
        "recbole:batch=256,epochs={e},lr=2e-3,settings=hidden_dropout_prob=0.3+attn_dropout_prob=0.3+n_layers=1+n_heads=1",
    ],
}
SEEDS = (0, 1, 2)


class Clock:
    """The validation curve with the seconds at which each point was reached."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.points: list[dict[str, float]] = []

    def progress(self, stage: str, done: int, total: int) -> None: ...

    def log(self, **values: Any) -> None:
        seconds = round(time.perf_counter() - self.start, 2)
        self.points.append(
            {
                "epoch": values["epoch"],
                "seconds": seconds,
                "valid_ndcg_at_10": round(values["valid_ndcg_at_10"], 6),
            }
        )

    def count(self, **values: int) -> None: ...


def fitted(selection: str, prepared: Path, folder: Path, *, seed: int) -> tuple[Method, RunContext, Clock]:
    name, values = parse_selection(selection)
    method = registry.load(name).build(values)
    clock = Clock()
    folder.mkdir(parents=True)
    run = RunContext(seed=seed, workdir=folder, stages=StageCache(folder / "stages"), threads=1, report=clock)
    data = split.load_training(prepared)
    method.fit(data, run=run)
    # our SASRec trains as a stage and reports its curve at the end; its seconds are those of its epochs
    stage = next(iter(folder.glob("stages/sasrec/*/training.json")), None)
    if stage is not None:
        total = clock.points[-1]["seconds"]
        clock.points = [
            replace_seconds(point, total * (n + 1) / len(clock.points))
            for n, point in enumerate(clock.points)
        ]
    method.load(data, run=replace(run, report=Clock()))
    return method, run, clock


def replace_seconds(point: dict[str, float], seconds: float) -> dict[str, float]:
    return {**point, "seconds": round(seconds, 2)}


def best_of(record: dict[str, Any]) -> float:
    return max(point["valid_ndcg_at_10"] for point in record["curve"])


def seconds_to(curve: list[dict[str, float]], value: float) -> float | None:
    return next((point["seconds"] for point in curve if point["valid_ndcg_at_10"] >= value), None)


def records(ledger: Path, kind: str) -> list[dict[str, Any]]:
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [record for line in lines if (record := json.loads(line))["kind"] == kind]


def write(ledger: Path, record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.open("a") as stream:
        stream.write(json.dumps(record) + "\n")


def tune(prepared: Path, ledger: Path, *, epochs: int) -> None:
    done = {record["selection"] for record in records(ledger, "trial")}
    for pair in zip(TRIALS["ours"], TRIALS["recbole"], strict=True):
        for side, text in zip(("ours", "recbole"), pair, strict=True):
            selection = text.format(e=epochs)
            if selection in done:
                continue
            with tempfile.TemporaryDirectory() as name:
                _, _, clock = fitted(selection, prepared, Path(name) / "fit", seed=0)
            write(ledger, {"kind": "trial", "side": side, "selection": selection, "curve": clock.points})


def final(prepared: Path, ledger: Path) -> None:
    """Each side's best trial with every seed; ranks of the test targets go into the ledger."""
    chosen = {
        side: max((r for r in records(ledger, "trial") if r["side"] == side), key=best_of)["selection"]
        for side in TRIALS
    }
    requests = split.load_requests(prepared, "test", exclude_seen=False)
    rankings = []
    done = {(record["side"], record["seed"]) for record in records(ledger, "final")}
    for seed in SEEDS:
        for side, selection in chosen.items():
            if (side, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as name:
                method, _, clock = fitted(selection, prepared, Path(name) / "fit", seed=seed)
                items = method.rank(requests, k=20).items
            rankings.append(({"side": side, "selection": selection, "seed": seed}, clock.points, items))
    targets = split.load_targets(prepared, "test")
    for who, curve, items in rankings:
        write(
            ledger, {"kind": "final", **who, "curve": curve, "ranks": target_ranks(items, targets).tolist()}
        )


def report(ledger: Path) -> None:
    found = records(ledger, "final")
    values = {
        side: np.stack(
            [metrics.per_request(np.array(r["ranks"]), "ndcg@10") for r in found if r["side"] == side]
        )
        for side in TRIALS
    }
    for side, table in values.items():
        print(f"{side}: test NDCG@10 by seed {table.mean(1).round(4).tolist()}, mean {table.mean():.4f}")
    estimate = crossed_t(values["ours"], values["recbole"])
    low, high = two_level_interval(values["ours"], values["recbole"])
    print(
        f"ours - recbole: {estimate.difference:+.4f}, crossed t [{estimate.low:+.4f}, {estimate.high:+.4f}]"
    )
    print(f"two-level bootstrap [{low:+.4f}, {high:+.4f}]")
    for seed in SEEDS:
        curves = {r["side"]: r["curve"] for r in found if r["seed"] == seed}
        goal = min(max(point["valid_ndcg_at_10"] for point in curve) for curve in curves.values())
        took = {side: seconds_to(curve, goal) for side, curve in curves.items()}
        ratio = (took["ours"] or np.nan) / (took["recbole"] or np.nan)
        print(f"seed {seed}: seconds to validation NDCG@10 {goal:.4f}: {took}, ratio {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("tune", "final", "report"))
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--epochs", type=int, default=12, help="of a trial of RecBole's")
    parser.add_argument("--ledger", type=Path)
    args = parser.parse_args()
    ledger = args.ledger or Path(__file__).parent / "tuning" / f"sasrec-against-recbole-{args.dataset}.jsonl"
    if args.what == "report":
        return report(ledger)
    data_dir = os.environ.get("RECBENCH_DATA")
    prepared = prepare(
        card.find(args.dataset, args.root),
        get_protocol("ilrec"),
        cache=args.root / "cache",
        data_dir=Path(data_dir) if data_dir else None,
    ).folder
    if args.what == "tune":
        return tune(prepared, ledger, epochs=args.epochs)
    return final(prepared, ledger)


if __name__ == "__main__":
    main()
