"""Hold `rere` against more SFT from the same parent, at equal trained tokens and at equal compute.

    python benchmarks/on_policy.py fit ml-100k --ledger benchmarks/tuning/on-policy-ml-100k.jsonl
    python benchmarks/on_policy.py report benchmarks/tuning/on-policy-ml-100k.jsonl

`fit` trains `sft` once a seed and, for every learning rate, `rere` from its last weights; then, at the same
rate, `sft-continued` for as many trained tokens, and for as much compute: three times the trained tokens plus
those that are only read. Each is evaluated on validation five times. It continues where the ledger ends.
`--set` changes settings of `rere` and its controls, as in `recbench run`.

`report` prints reward, share of groups with a hit and validation NDCG@10 over training, and the differences
to both controls at the end; intervals are those of `recbench compare`, over users crossed with seeds. No test
target is read.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fits
import numpy as np
from numpy.typing import NDArray
from selection import Recorder, ndcg

from recbench.base import params
from recbench.base.progress import Silent
from recbench.comparison.significance import crossed_t
from recbench.data import TrainingData
from recbench.dataset import split
from recbench.llm import LLMMethod
from recbench.method import ParentFit
from recbench.planning import registry
from recbench.planning.resolve import Selection, resolve
from recbench.results import metrics

CONTROL, CONTROLS = "sft-continued:as=rere", ("equal tokens", "equal compute")
CURVES = ("reward", "hit_share", "flat_share", "distinct_items", "kl")


class Curve(Silent):
    """Keeps what a fit logs and counts."""

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.counts: dict[str, int] = {}

    def log(self, **values: Any) -> None:
        self.records.append(values)

    def count(self, **values: int) -> None:
        for name, value in values.items():
            self.counts[name] = self.counts.get(name, 0) + value


def fit(
    method: str,
    dataset: str,
    data: TrainingData,
    folder: Path,
    *,
    seed: int,
    root: Path,
    settings: Mapping[str, str],
    parent: ParentFit | None = None,
    budget: int | None = None,
) -> dict[str, Any]:
    """Train one method from the parent; its rank of every validation target after each evaluation."""
    chosen = Selection(
        method=method, dataset=dataset, seed=seed, settings={**settings, "train.select": "best"}
    )
    resolved = resolve(chosen)
    assert resolved.llm is not None
    built, curve = registry.load(method.partition(":")[0]).build(resolved.params), Curve()
    assert isinstance(built, LLMMethod)
    folder.mkdir(parents=True, exist_ok=True)
    run = fits.begin_in(folder, resolved.llm, seed=seed, stages=root / "cache")
    run = replace(run, parent=parent, token_budget=budget, report=curve)
    policy = built.start(data, run)
    policy.validate = recorder = Recorder(policy, data, run)
    began = time.perf_counter()
    built.train(policy, data, run)
    seconds = time.perf_counter() - began
    policy.save(folder / "model")
    (kept,) = policy.selected.values()
    trained, forward = (curve.counts.get(name, 0) for name in ("trained_tokens", "forward_tokens"))
    return {
        "method": method,
        "seed": seed,
        "split": data.digests["split"],
        "params": resolved.params,
        "train": params.resolved(resolved.llm.train),
        "identifiers": params.resolved(resolved.llm.identifiers),
        "trained_tokens": trained,
        "forward_tokens": forward,
        "compute_tokens": 3 * trained + forward,
        "training_steps": curve.counts["steps"],
        "steps": kept.steps,
        "valid_ndcg_at_10": [round(ndcg(ranks), 6) for ranks in recorder.ranks],
        "curves": {
            name: [[one["step"], round(one[name], 6)] for one in curve.records if name in one]
            for name in CURVES
        },
        "seconds": round(seconds - recorder.seconds, 1),
        "ranks": recorder.ranks,
    }


def fit_all(args: argparse.Namespace) -> None:
    prepared = fits.prepared(args.what, args.root, users=args.limit_users)
    data = split.load_training(prepared.folder)
    lines = args.ledger.read_text().splitlines() if args.ledger.exists() else []
    known = {(one["arm"], one["lr"], one["seed"]): one for one in map(json.loads, lines)}
    for seed in range(args.seeds):
        fit_seed(args, data, seed, known)


def fit_seed(
    args: argparse.Namespace, data: TrainingData, seed: int, known: dict[tuple[str, str, int], dict[str, Any]]
) -> None:
    """The parent, `rere` and its controls of a seed, but for those that are `known`."""
    top = args.root / "on-policy" / args.what

    def made(arm: str, lr: str, method: str, **options: Any) -> dict[str, Any]:
        if (arm, lr, seed) not in known:
            folder = top / f"{arm.replace(' ', '-')}-{lr}-{seed}"
            record = fit(method, args.what, data, folder, seed=seed, root=args.root, **options)
            known[arm, lr, seed] = {"arm": arm, "lr": lr, **record}
            fits.append(known[arm, lr, seed], args.ledger)
            shown = {name: value for name, value in known[arm, lr, seed].items() if name != "ranks"}
            print(json.dumps(shown), flush=True)
        return known[arm, lr, seed]

    settings = dict(one.split("=", 1) for one in args.settings)
    plain = {name: value for name, value in settings.items() if name.startswith("identifiers.")}
    made("parent", "", "sft", settings=plain)
    llm = resolve(Selection(method="sft", dataset=args.what, seed=seed, settings=plain)).llm
    assert llm is not None
    parent = ParentFit(id=f"sft {seed}", workdir=top / f"parent--{seed}", trained_tokens=0, llm=llm)
    for lr in args.lr:
        own = {**settings, "train.lr": lr}
        ours = made("rere", lr, args.method, settings=own, parent=parent)
        more = {"settings": {**own, "train.max_rows": "0"}, "parent": parent}
        made("equal tokens", lr, CONTROL, budget=ours["trained_tokens"], **more)
        made("equal compute", lr, CONTROL, budget=ours["compute_tokens"] // 3, **more)


def gains(records: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """[S, U] the last evaluation's NDCG@10 of each user."""
    return np.stack([metrics.per_request(np.array(one["ranks"][-1]), "ndcg@10") for one in records])


def report(ledger: Path) -> None:
    arms: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in map(json.loads, ledger.read_text().splitlines()):
        arms.setdefault((record["lr"], record["arm"]), []).append(record)
    for (lr, arm), records in sorted(arms.items()):
        trained, read, seconds = (
            np.mean([one[name] for one in records])
            for name in ("trained_tokens", "forward_tokens", "seconds")
        )
        of = f"seeds {len(records)}, {seconds:.0f} s, tokens {trained:,.0f} trained {read:,.0f} read"
        print(f"{arm} lr {lr or '-'}: {of}")
        _print("NDCG@10", np.mean([one["valid_ndcg_at_10"] for one in records], axis=0).tolist())
        for name in CURVES:
            if records[0]["curves"][name]:
                _print(name, fifths([one["curves"][name] for one in records]))
        for control in ("parent", *CONTROLS) if arm == "rere" else ():
            other = arms.get(("" if control == "parent" else lr, control), [])
            if len(other) == len(records):
                test = crossed_t(gains(records), gains(other), joint=True)
                interval = f"[{test.low:+.4f}, {test.high:+.4f}]"
                print(f"  - {control}: {test.difference:+.4f} {interval} p {test.p:.3f}")


def _print(name: str, values: Sequence[float]) -> None:
    print(f"  {name} " + " ".join(f"{value:.4g}" for value in values))


def fifths(curves: Sequence[Sequence[Sequence[float]]]) -> list[float]:
    """The means of the five parts of the training, over all seeds."""
    values = np.array([[value for _, value in curve] for curve in curves])
    return [float(part.mean()) for part in np.array_split(values, min(5, values.shape[1]), axis=1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=("fit", "report"))
    parser.add_argument("what", metavar="DATASET|LEDGER")
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--limit-users", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", nargs="+", default=["1e-5"])
    parser.add_argument("--method", default="rere", help="with its parameters: rere:reward=rule")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    args = parser.parse_args()
    if args.verb == "report":
        report(Path(args.what))
    else:
        fit_all(args)


if __name__ == "__main__":
    main()
