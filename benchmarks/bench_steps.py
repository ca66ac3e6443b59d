"""Processor seconds of optimiser steps of preference methods and ILRec beside sft's, in turn in one process.

    python benchmarks/bench_steps.py --root ROOT
    python benchmarks/bench_steps.py --cases llama-256x8 --profile ilrec

A case is a model and rows. `tiny` has rows of ml-100k, one example each, `tiny, packed` those of the recipe,
which share a user's history; the shapes have random weights, LoRA, and rows with a history of 20 items.
In each round every way trains anew for a few steps on the same examples; a way's figure is the median
of its steps, and a ratio that of two ways of one round. `copies` is S-DPO whose responses are rows of their
own, each with its prompt. `reference` is the pass over the rows of a step of S-DPO that gives the
reference's log-probabilities; a fit makes it once. Weights and SASRec's rewards mean nothing here.

Then a step of sft and of ilrec is watched: the most bytes that its tensors have at once, beside what was
there before, and the tensors of a vocabulary's width among them.
"""

from __future__ import annotations

import argparse
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import fits
import numpy as np
import torch
from shapes import SHAPES, Timed, backbone_of, clock, quiet, settings
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recbench.data import Ragged, TrainingData
from recbench.dataset import split
from recbench.llm.signals import reward
from recbench.llm.training import trainer
from recbench.llm.training.batch import collate
from recbench.llm.training.pack import Row, prefix_tree
from recbench.llm.training.scoring import logps
from recbench.sequential.params import SASRecParams
from recbench.testing import toy_data
from recbench_methods.ilrec import ILRec
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT
from recbench_methods.simpo import SimPO

NEGATIVES = 5
METHODS: dict[str, Callable[[], Any]] = {
    "sft": SFT,
    "sdpo": lambda: SDPO(num_negatives=NEGATIVES),
    "copies": lambda: SDPO(num_negatives=NEGATIVES),
    "simpo": lambda: SimPO(num_negatives=NEGATIVES),
    "ilrec": ILRec,
}
RATIOS = (
    ("sdpo", "sft"),
    ("simpo", "sdpo"),
    ("reference", "sdpo"),
    ("copies", "sdpo"),
    ("ilrec", "sft"),
)
LONG = {"sdpo": "<= 1.3", "copies": ">= 4"}
"""The goals where a prompt has at least 150 tokens."""


@dataclass(frozen=True)
class Case:
    """A model, and the rows that it trains on."""

    name: str
    shape: str
    batch: int
    pack: Literal["none", "user-blocks"] = "none"
    goals: Mapping[str, str] = field(default_factory=dict)
    without: str = ""  # a way that takes too long


CASES = [
    Case("tiny", "tiny", 16, goals={"sdpo": "<= 1.3"}),
    Case("tiny, packed", "tiny", 16, "user-blocks", without="copies"),
    Case("llama-256x8", "llama-256x8", 2, goals=LONG | {"ilrec": "<= 1.15"}),
    Case("smollm2-256x8", "smollm2-256x8", 2, goals=LONG | {"ilrec": "<= 1.35"}),
]
SLOW = [
    Case("smollm2-135m", "smollm2-135m", 1, goals=LONG | {"ilrec": "<= 1.35"}, without="copies")
]  # a step takes seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--cases", nargs="+", default=[case.name for case in CASES])
    parser.add_argument("--ways", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="optimiser steps of a fit; two are not timed")
    parser.add_argument("--profile", choices=list(METHODS), help="print the operators of this way's steps")
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    if not args.profile:
        print("| case | prompt | ratio | median (least-most) | goal | seconds | tokens a step |")
        print("|---|---|---|---|---|---|---|")
    watched = [row for case in CASES + SLOW if case.name in args.cases for row in measure(case, args)]
    if watched:
        print("\n| case | way | most MiB at once | of a vocabulary's width |\n|---|---|---|---|")
        print("\n".join(watched))


def measure(case: Case, args: argparse.Namespace) -> list[str]:
    """Print the case's rows of the first table, and return those of the second."""
    data = ml_100k(args.root) if case.shape == "tiny" else walks(args.steps * case.batch)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backbone = case.shape
        if case.shape in SHAPES:
            backbone = stack.enter_context(backbone_of(case.shape, "cpu", folder / "model"))
        stack.enter_context(mock.patch.object(reward, "SASRecParams", partial(SASRecParams, epochs=1)))
        ways = Ways(case, backbone, data, folder, args.steps)
        if args.profile:
            ways.profile(args.profile)
            return []
        names = [way for way in args.ways if way != case.without]
        for way in names:  # make the stages, and what a first call makes
            ways.fit(way, steps=1)
        rounds = [ways.round(names) for _ in range(args.rounds)]
        for one, other in RATIOS:
            if not {one, other} <= rounds[0].keys():
                continue
            each = np.array([now[one] / now[other] for now in rounds])
            seconds = np.median([now[one] for now in rounds])
            cells = [case.name, f"{ways.prompt:.0f}", f"{one} / {other}"]
            cells += [
                f"{np.median(each):.2f} ({each.min():.2f}-{each.max():.2f})",
                case.goals.get(one, ""),
                f"{seconds:.3f}",
            ]
            print(f"| {' | '.join([*cells, f'{ways.tokens[one]:.0f}'])} |", flush=True)
        watched = [(name, ways.watch(name)) for name in args.ways if name in ("sft", "ilrec")]
    return [f"| {case.name} | {name} | {held.most / 2**20:.0f} | {held.wide} |" for name, held in watched]


class Ways:
    """The ways to train on a case's rows, each a fit of a few steps."""

    def __init__(self, case: Case, backbone: str, data: TrainingData, folder: Path, steps: int) -> None:
        self.case, self.backbone, self.data, self.folder, self.steps = case, backbone, data, folder, steps
        self.fits = 0
        self.rows: list[Row] = []  # of the last fit
        self.tokens: dict[str, float] = {}  # of a step of each way
        self.prompt = 0.0  # tokens, on average

    def fit(self, way: str, steps: int | None = None) -> Timed:
        self.fits += 1
        timed, amount = Timed("cpu"), steps or self.steps
        name = "sdpo" if way == "copies" else way
        run = settings(name, self.backbone, self.folder, timed, batch=self.case.batch, steps=amount)
        packed = replace(run.llm, train=replace(run.llm.train, pack=self.case.pack))
        run = replace(run, workdir=self.folder / f"fit-{self.fits}", llm=packed)
        self.policy = SFT().start(self.data, run)
        self.rows.clear()

        def collated(rows: Sequence[Row], *, pad: int) -> dict[str, Any]:
            self.rows += rows
            return collate([one for row in rows for one in apart(row)] if way == "copies" else rows, pad=pad)

        with mock.patch.object(trainer, "collate", collated):
            METHODS[way]().train(self.policy, self.data, run)
        self.tokens[way] = timed.counts["trained_tokens"] / timed.counts["steps"]
        if way == "sft":
            starts = [row.position[row.predictor[row.step == 0]] for row in self.rows]
            self.prompt = float(np.concatenate(starts).mean()) + 1
        return timed

    def step(self, way: str) -> float:
        return self.fit(way).step

    def round(self, ways: Sequence[str]) -> dict[str, float]:
        """Seconds of a step of each way, and of the reference's pass over a step of S-DPO."""
        found = {way: self.step(way) for way in ways if way != "sdpo"}
        if "sdpo" not in ways:
            return found
        found["sdpo"] = self.step("sdpo")  # last, for its rows
        started = clock("cpu")
        logps(self.policy, self.rows)
        found["reference"] = (clock("cpu") - started) * self.case.batch / len(self.rows)
        self.tokens["reference"] = self.tokens["sdpo"]
        return found

    def watch(self, way: str) -> Held:
        """What the tensors of one step hold at most."""
        config = self.policy.model.config
        held = Held(config.vocab_size, config.hidden_size)
        step = trainer.PolicyTrainer.training_step

        def watched(*words: Any, **named: Any) -> Any:
            with held:
                return step(*words, **named)

        with mock.patch.object(trainer.PolicyTrainer, "training_step", watched):
            self.fit(way, steps=1)
        return held

    def profile(self, way: str) -> None:
        self.step(way)
        with torch.profiler.profile() as found:
            seconds = self.step(way)
        print(f"{self.case.name}, {way}: {seconds:.3f} s a step")
        print(
            found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40)
        )


def apart(row: Row) -> list[Row]:
    """The responses of a row, each in a row of its own with its prompt."""
    seen = row.mask()
    found = []
    for number in range(row.num_examples):
        mine = row.response == number
        path = np.flatnonzero(seen[row.predictor[mine][-1]])
        tokens = [*row.input_ids[path].tolist(), int(row.label[mine][-1])]
        facts = {name: column[number : number + 1] for name, column in row.facts.items()}
        found.append(prefix_tree([(tokens, len(tokens) - int(mine.sum()))], facts))
    return found


class Held(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves these two untyped
    """The bytes of the tensors made inside, while they live."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.vocabulary, self.hidden = vocabulary, hidden
        self.alive: dict[int, tuple[int, tuple[int, ...]]] = {}
        self.now = self.most = 0
        self.at_most: list[tuple[int, tuple[int, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor)
        return made

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.alive:
            return
        self.alive[key] = storage.nbytes(), tuple(tensor.shape)
        weakref.finalize(storage, self.free, key)
        self.now += storage.nbytes()
        if self.now > self.most:
            self.most, self.at_most = self.now, list(self.alive.values())

    def free(self, key: int) -> None:
        self.now -= self.alive.pop(key)[0]

    @property
    def wide(self) -> str:
        """The tensors [positions, vocabulary] of the moment with the most bytes."""
        head = (self.hidden, self.vocabulary)
        shapes = Counter(
            shape for _, shape in self.at_most if shape[-1:] == (self.vocabulary,) and shape != head
        )
        return ", ".join(f"{count} of {list(shape)}" for shape, count in shapes.items()) or "none"


def ml_100k(root: Path) -> TrainingData:
    """The first 300 users."""
    return split.load_training(fits.prepared("ml-100k", root, users=300).folder)


def walks(num_users: int, num_items: int = 2000, history: int = 20) -> TrainingData:
    """Users who walk the catalogue, each with one target, after a full history."""
    first = np.random.default_rng(0).integers(num_items, size=(num_users, 1))
    items = (first + np.arange(history + 1)) % num_items
    data = toy_data(num_users=num_users, num_items=num_items)
    last = np.arange(num_users) * (history + 1) + history
    return replace(data, sequences=Ragged.of(list(items)), sample=last)


if __name__ == "__main__":
    main()
