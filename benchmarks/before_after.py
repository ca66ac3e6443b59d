"""Processor seconds of a step of sft and ilrec and of ranking a user, in two checkouts, in turn.

    export RECBENCH_DATA=FOLDER
    recbench run -m sft -m ilrec -d instrument --root ROOT
    python benchmarks/before_after.py --root ROOT --before OLD/.venv/bin/python

The finished fits of ROOT, seed 0, rank test users, of whom no target is read; then each method trains for a
few steps on the same rows. Both checkouts read the weights of the same fit, which the older one may know by
another id. Seconds are of a whole run, `--whole` steps and users. Ratios are new over old, of
one round; the median of five with least and most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--dataset", default="instrument")
    parser.add_argument("--before", help="Python of another checkout")
    parser.add_argument("--fits", nargs=2, metavar=("SFT", "ILREC"), help="measure here, with these fits")
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--whole", type=int, nargs=2, default=[7980, 24772], help="steps and users of a run")
    args = parser.parse_args()
    if args.fits is not None:
        print(json.dumps(measured(args.root, args.dataset, args.fits, args.users, args.steps)))
        return
    if args.before is None:
        parser.error("--before names the Python of the older checkout, as OLD/.venv/bin/python")
    words = ["--root", str(args.root), "--dataset", args.dataset]
    words += ["--users", str(args.users), "--steps", str(args.steps)]
    words += ["--fits", *(one.spec.fit.id for one in plans(args.root, args.dataset))]
    rounds = [[child(python, words) for python in (args.before, sys.executable)] for _ in range(ROUNDS)]
    print("| method | part | before | after | after / before |\n|---|---|---|---|---|")
    for method in rounds[0][0]:
        for part, name, whole in zip(
            ("step", "user"), ("a fit's steps", "ranking all users"), args.whole, strict=True
        ):
            both = np.array([[one[method][part] for one in pair] for pair in rounds])
            ratio = both[:, 1] / both[:, 0]
            before, after = (f"{whole * seconds:.0f} s" for seconds in np.median(both, axis=0))
            spread = f"{np.median(ratio):.2f} ({ratio.min():.2f}-{ratio.max():.2f})"
            cells = [method, name, before, after, spread]
            print(f"| {' | '.join(cells)} |")


def child(python: str, words: list[str]) -> dict[str, dict[str, float]]:
    done = subprocess.run([python, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def plans(place: Path, dataset: str) -> list[Any]:
    """The runs of sft and ilrec, seed 0, as the recbench of this interpreter plans them."""
    from recbench.base.root import discover
    from recbench.planning.plan import plan
    from recbench.planning.resolve import Selection

    root = discover(place)
    return [plan([Selection(method=name, dataset=dataset, seed=0)], root)[-1] for name in ("sft", "ilrec")]


def measured(
    place: Path, dataset: str, fits: list[str], users: int, steps: int
) -> dict[str, dict[str, float]]:
    """Seconds of a step and of a user's ranking, by method, with the recbench of this interpreter."""
    import torch

    from recbench.base.layout import fit_folder
    from recbench.base.root import discover
    from recbench_methods.ilrec import ILRec
    from recbench_methods.sft import SFT

    torch.set_num_threads(1)
    cache, runs = discover(place).cache, plans(place, dataset)
    return {
        run.spec.fit.method: seconds_of(method, run, cache, fit_folder(cache, fit), users, steps)
        for method, run, fit in zip((SFT(), ILRec()), runs, fits, strict=True)
    }


def seconds_of(method: Any, planned: Any, cache: Path, fit: Path, users: int, steps: int) -> dict[str, float]:
    from recbench.base.layout import stages_folder
    from recbench.base.progress import Silent
    from recbench.dataset import split
    from recbench.llm import rank_catalogue, restore_policy
    from recbench.method import RunContext
    from recbench.planning.resolve import rebuild_llm_settings
    from recbench.stages import StageCache

    class Steps(Silent):
        at: list[float]

        def progress(self, stage: str, done: int, total: int) -> None:
            del done, total
            if stage == "training":
                self.at.append(time.process_time())

    data, llm = split.load_training(planned.split.folder), rebuild_llm_settings(planned.spec)
    assert llm is not None
    stages = StageCache(stages_folder(cache))
    place = RunContext(seed=0, workdir=fit, stages=stages, threads=1)
    run = place.with_llm(llm)
    policy = restore_policy(data, run)
    seen = planned.spec.protocol["exclude_seen"]
    requests = split.load_requests(planned.split.folder, "test", exclude_seen=seen)
    asked = requests.take(np.random.default_rng(0).permutation(len(requests))[:users])
    began = time.process_time()
    rank_catalogue(policy, asked, data=data, k=20, run=run)
    ranked = time.process_time() - began

    report = Steps()
    report.at = []
    few = replace(llm.train, epochs=1.0, max_rows=steps * llm.train.batch, checkpoints=1)
    with tempfile.TemporaryDirectory() as folder:
        short = replace(run.with_llm(replace(llm, train=few)), workdir=Path(folder), report=report)
        method.train(method.start(data, short), data, short)
    return {"step": float(np.median(np.diff(report.at)[1:])), "user": ranked / users}


if __name__ == "__main__":
    main()
