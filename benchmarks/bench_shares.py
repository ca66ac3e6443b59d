"""What of a fit's processor seconds goes to measuring movement, to the reference's pass, and to answers.

    python benchmarks/bench_shares.py --root ROOT

Each method fits `tiny` whole, by its recipe, on the first users of ml-100k, and its calls are timed.
`movement` is the log-probabilities before and after that tell how far a fit moved, `reference` those of the
reference, laid into the stage, `answers` the answers to training prompts with the vectors that ground them.
Identifiers and the parent, `sft` of one epoch, are made before, and the training of ILRec's SASRec, a stage
that other fits share, is taken off a fit's seconds.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import fits
import torch
from bench_rollouts import calls
from shapes import clock, quiet

from recbench import llm
from recbench.data import TrainingData
from recbench.dataset import split
from recbench.llm import LLMMethod
from recbench.llm.signals import distillation, preference, reward
from recbench.llm.training.movement import Movement
from recbench.method import ParentFit
from recbench_methods.ilrec import ILRec
from recbench_methods.sdpo import SDPO
from recbench_methods.soft import SOFT
from recbench_methods.sprec import SPRec

METHODS: dict[str, type[LLMMethod]] = {"ilrec": ILRec, "sdpo": SDPO, "soft": SOFT, "sprec": SPRec}
PARTS: dict[str, list[tuple[Any, str]]] = {
    "movement": [(Movement, "begin"), (Movement, "since")],
    "reference": [(preference, "reference_logps")],
    "answers": [(llm, "training_answers"), (llm, "text_space"), (distillation, "answer")],
    "sasrec": [(reward, "cf_model")],
}
"""The functions of each part, where they are called."""
GOAL = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--users", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    data = split.load_training(fits.prepared("ml-100k", args.root, users=args.users).folder)
    print("| method | seconds of a fit | movement | reference | answers | together | goal |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        short = {"train.epochs": "1"}
        run = fits.begin("sft", "ml-100k", top / "sft", seed=0, stages=top / "stages", settings=short)
        parent = fits.parent(data, run)
        for name in args.methods:
            seconds = measure(name, data, top, parent)
            whole = seconds.pop("fit") - seconds.pop("sasrec")
            shares = [each / whole for each in seconds.values()]
            cells = [f"{100 * share:.1f} %" for share in (*shares, sum(shares))]
            print(f"| {name} | {whole:.1f} | {' | '.join(cells)} | <= {100 * GOAL:.0f} % |", flush=True)


def measure(name: str, data: TrainingData, top: Path, parent: ParentFit) -> dict[str, float]:
    """The seconds of a fit, and of its parts."""
    run = fits.begin(name, "ml-100k", top / name, seed=0, stages=top / "stages", settings={})
    with ExitStack() as stack:
        timed = {
            part: [stack.enter_context(calls(owner, function)) for owner, function in functions]
            for part, functions in PARTS.items()
        }
        started = clock("cpu")
        METHODS[name]().fit(data, run=replace(run, parent=parent))
        whole = clock("cpu") - started
    return {"fit": whole} | {part: sum(map(sum, found)) for part, found in timed.items()}


if __name__ == "__main__":
    main()
