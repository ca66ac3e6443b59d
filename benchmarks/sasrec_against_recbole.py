"""Compare recbench's SASRec with RecBole's on one split: six trials each on validation, ten seeds on test.

    python benchmarks/sasrec_against_recbole.py --root . tune     # appends to the ledger; continues there
    python benchmarks/sasrec_against_recbole.py --root . final    # the best trial of each side, by seed
    python benchmarks/sasrec_against_recbole.py --root . report   # differences and seconds, from the ledger

The two sides take turns. `--at-most 1` ends after one fit, and the next call continues; two calls with
different `--side` may run at the same time. Seconds are processor seconds of one thread, from the start of
`fit`, including preparation and RecBole's start: on a free core they are wall seconds, and other work on the
machine does not count. Seconds of different days are not compared, because the machines may differ. Rankings
are kept under the root until all are complete; only then are the test targets read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import fits
import numpy as np
import psutil

from recbench.base.params import parse_selection
from recbench.comparison.significance import crossed_t
from recbench.data import Ints
from recbench.dataset import split
from recbench.method import RunContext
from recbench.planning import registry
from recbench.results import metrics
from recbench.results.evaluate import target_ranks
from recbench.stages import StageCache

OURS = [
    "stride=5,averaging=0.99,batch=128,heads=2,inner=256",
    "stride=5,averaging=0.99,batch=128,heads=2,inner=256,dropout=0.2",
    "stride=5,averaging=0.997,batch=128,heads=2,inner=256,dropout=0.2",
    "stride=5,averaging=0.99,batch=128,heads=4,inner=512",
    "stride=5,averaging=0.99,batch=128,heads=4,inner=512,dropout=0.2",
    "stride=5,averaging=0.997,batch=128,heads=4,inner=512",
]
RECBOLES = [
    "lr=1e-3,settings=hidden_dropout_prob=0.2+attn_dropout_prob=0.2",
    "lr=1e-3,settings=hidden_dropout_prob=0.5+attn_dropout_prob=0.5",
    "lr=2e-3,settings=hidden_dropout_prob=0.2+attn_dropout_prob=0.2",
    "lr=1e-3,settings=hidden_dropout_prob=0.2+attn_dropout_prob=0.2+n_heads=1+inner_size=128",
    "lr=2e-3,settings=hidden_dropout_prob=0.3+attn_dropout_prob=0.3+n_heads=1+inner_size=128",
    "lr=2e-3,settings=hidden_dropout_prob=0.3+attn_dropout_prob=0.3+n_heads=1+n_layers=1",
]
SIDES = ("ours", "recbole")


class Curve:
    """Records validation NDCG@10 by epoch, with the processor seconds at which each point was reached."""

    def __init__(self) -> None:
        self._start = _processor_seconds()
        self._ends: dict[int, float] = {}
        self.values: dict[int, float] = {}

    def progress(self, _stage: str, done: int, _total: int) -> None:
        self._ends.setdefault(done, round(_processor_seconds() - self._start, 2))

    def log(self, **values: Any) -> None:
        self.values[values["epoch"]] = round(values["valid_ndcg_at_10"], 6)

    def count(self, **values: int) -> None: ...

    @property
    def points(self) -> list[tuple[float, float]]:
        last = max(self._ends.values())
        return [(self._ends.get(epoch, last), value) for epoch, value in self.values.items()]


def _processor_seconds() -> float:
    """Processor seconds of this process and of its running children."""
    total: float = time.process_time()
    for child in psutil.Process().children(recursive=True):
        used = child.cpu_times()
        total += used.user + used.system
    return total


def fit(selection: str, prepared: Path, *, seed: int, phase: Any = None) -> tuple[Curve, Ints | None]:
    """The curve of a fit and, with a phase, its ranking."""
    name, values = parse_selection(selection)
    data = split.load_training(prepared)
    with tempfile.TemporaryDirectory() as folder:
        method, curve = registry.load(name).build(values), Curve()
        work = Path(folder) / "fit"
        work.mkdir()
        run = RunContext(seed=seed, workdir=work, stages=StageCache(Path(folder)), threads=1, report=curve)
        method.fit(data, run=run)
        if phase is None:
            return curve, None
        method.load(data, run=run)
        requests = split.load_requests(prepared, phase, exclude_seen=False)
        return curve, method.rank(requests, k=20).items


def records(ledger: Path, kind: str) -> list[dict[str, Any]]:
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [record for line in lines if (record := json.loads(line))["kind"] == kind]


def write(ledger: Path, **record: Any) -> None:
    ledger.parent.mkdir(parents=True, exist_ok=True)
    fits.append(record, ledger)
    print(json.dumps({key: value for key, value in record.items() if key != "ranks"}), flush=True)


def best_of(record: dict[str, Any]) -> float:
    values: list[float] = [value for _, value in record["curve"]]
    return max(values)


def runnable(side: str, settings: str, *, batch: int, epochs: int, own_epochs: int) -> str:
    """The selection of a trial; the command line gives the epochs of each side and RecBole's batch."""
    if side == "ours":
        return f"sasrec:epochs={own_epochs},patience={own_epochs},{settings}"
    return f"recbole:model=SASRec,batch={batch},epochs={epochs},{settings}"


def tune(prepared: Path, ledger: Path, *, at_most: int, **how: int) -> None:
    done = {(record["side"], record["settings"]) for record in records(ledger, "trial")}
    trials = [trial for pair in zip(OURS, RECBOLES, strict=True) for trial in zip(SIDES, pair, strict=True)]
    for side, settings in [trial for trial in trials if trial not in done][:at_most]:
        selection = runnable(side, settings, **how)
        curve, _ = fit(selection, prepared, seed=0)
        write(ledger, kind="trial", side=side, settings=settings, selection=selection, curve=curve.points)


def final(
    prepared: Path,
    ledger: Path,
    *,
    rankings: Path,
    seeds: int,
    sides: tuple[str, ...],
    at_most: int,
    **how: int,
) -> None:
    trials = records(ledger, "trial")
    best = {s: max((r for r in trials if r["side"] == s), key=best_of)["settings"] for s in SIDES}
    done = {(record["side"], record["seed"]) for record in records(ledger, "final")}
    rankings.mkdir(parents=True, exist_ok=True)
    fits = [(side, seed) for seed in range(seeds) for side in SIDES if (side, seed) not in done]
    wanted = {(side, seed): rankings / f"{side}-{seed}.npz" for side, seed in fits}
    missing = [pair for pair, file in wanted.items() if not file.exists() and pair[0] in sides]
    for side, seed in missing[:at_most]:
        selection = runnable(side, best[side], **how)
        curve, items = fit(selection, prepared, seed=seed, phase="test")
        assert items is not None
        print(side, seed, selection, curve.points, flush=True)
        np.savez(wanted[side, seed], items=items, curve=np.array(curve.points), selection=selection)
    if not all(file.exists() for file in wanted.values()):
        return
    targets = split.load_targets(prepared, "test")
    for side, seed in wanted:
        with np.load(wanted[side, seed]) as made:
            write(
                ledger,
                kind="final",
                side=side,
                seed=seed,
                day=date.fromtimestamp(wanted[side, seed].stat().st_mtime).isoformat(),
                selection=str(made["selection"]),
                curve=made["curve"].tolist(),
                ranks=target_ranks(made["items"], targets).tolist(),
            )


def report(ledger: Path) -> None:
    finals = sorted(records(ledger, "final"), key=lambda record: record["seed"])
    by_side = {side: [record for record in finals if record["side"] == side] for side in SIDES}
    ours, theirs = (
        np.stack([metrics.per_request(np.array(r["ranks"]), "ndcg@10") for r in by_side[side]])
        for side in SIDES
    )
    for side, table in zip(SIDES, (ours, theirs), strict=True):
        print(f"{side}: {by_side[side][0]['selection']}")
        print(f"  test NDCG@10 by seed {table.mean(1).round(4).tolist()}, mean {table.mean():.4f}")
    for seeds in sorted({3, len(ours)}):
        t = crossed_t(ours[:seeds], theirs[:seeds])
        print(f"{seeds} seeds: ours - recbole {t.difference:+.4f}: crossed t [{t.low:+.4f}, {t.high:+.4f}]")
    pairs = zip(by_side["ours"], by_side["recbole"], strict=True)
    for our, their in [(our, their) for our, their in pairs if our["day"] == their["day"]]:
        goal = min(best_of(our), best_of(their))
        our_seconds, their_seconds = (
            next(s for s, value in r["curve"] if value >= goal) for r in (our, their)
        )
        print(
            f"seed {our['seed']}: validation NDCG@10 {goal:.4f} after {our_seconds:.0f} s and "
            f"{their_seconds:.0f} s, ratio {our_seconds / their_seconds:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("tune", "final", "report"))
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--epochs", type=int, default=12, help="of RecBole's fits")
    parser.add_argument("--own-epochs", type=int, default=20, help="of our fits")
    parser.add_argument("--batch", type=int, default=512, help="of RecBole's fits")
    parser.add_argument("--seeds", type=int, default=10, help="of each side, in `final`")
    parser.add_argument("--side", choices=SIDES, help="the only one to fit in this call of `final`")
    parser.add_argument("--at-most", type=int, default=len(OURS) * len(SIDES), help="fits of this call")
    parser.add_argument("--ledger", type=Path)
    args = parser.parse_args()
    name = f"sasrec-against-recbole-{args.dataset}.jsonl"
    ledger = args.ledger or Path(__file__).parent / "tuning" / name
    if args.what == "report":
        return report(ledger)
    prepared = fits.prepared(args.dataset, args.root).folder
    how = {name: getattr(args, name) for name in ("batch", "epochs", "own_epochs", "at_most")}
    if args.what == "tune":
        return tune(prepared, ledger, **how)
    return final(
        prepared,
        ledger,
        rankings=args.root / "cache" / "sasrec-against-recbole",
        seeds=args.seeds,
        sides=(args.side,) if args.side else SIDES,
        **how,
    )


if __name__ == "__main__":
    main()
