"""How much of a batch is padding, and what it takes to lay batches out.

    python benchmarks/bench_batches.py --root ROOT

The rows are those on which `sft` trains, 300 users of ml-100k: packed by the recipe of `tiny`, and one
example a row, of codes and of titles. Useful is the share of a batch's places that have a token, over an
epoch in a random order: with the rows of a micro-batch as they are drawn, and with those of an optimiser step
sorted by length first, as a fit does. `sft` trains for a few steps with each, in turn: the processor seconds
of an optimiser step against those of one forward pass, and of one pass the share in which the next step's
batches are read and laid out. The masks of 16 rows with six responses to a prompt are made on the host as
booleans [B, N, N], and from the ends of their nodes [B, N] as the model does, in turn, both with the rest of
the batch. A ratio is of one round, the median with least and most.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import fits
import numpy as np
import torch
from rounds import spread
from shapes import quiet

from recbench.data import Floats, TrainingData
from recbench.dataset import split
from recbench.llm import TokenCrossEntropy, train, training_rows
from recbench.llm.model.attention import visible_nodes
from recbench.llm.training import trainer
from recbench.llm.training.batch import by_length, collate
from recbench.llm.training.pack import Row, prefix_tree
from recbench.method import LLMRun
from recbench.planning.resolve import Selection, resolve
from recbench_methods.sft import SFT

CASES: dict[str, tuple[str, Mapping[str, str]]] = {
    "codes, packed": ("semantic-id", {}),
    "codes, one example a row": ("semantic-id", {"train.pack": "none", "train.batch": "128"}),
    "titles, packed": ("title", {}),
    "titles, one example a row": ("title", {"train.pack": "none", "train.batch": "128"}),
}
PARTS = (1, 2, 4, 16)
"""Micro-batches of an optimiser step."""
ROWS = 64
"""Rows of a fit that is timed; a step's, where these are more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    data = split.load_training(fits.prepared("ml-100k", args.root, users=300).folder)
    lines = []
    print("| rows | batch | tokens of a row | micro-batches | useful, as drawn | by length | seconds |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.cases:
            case = Case(name, data, Path(folder) / name)
            ratios, waiting = case.steps(args.rounds)
            for parts in PARTS:
                cells = [name, str(case.batch), f"{case.tokens:.0f}", str(parts)]
                cells += [f"{case.useful(parts, ordered):.1%}" for ordered in (False, True)]
                cells.append(spread(ratios[parts].tolist()))
                print(f"| {' | '.join(cells)} |", flush=True)
            lines.append(f"| {' | '.join([name, f'{waiting:.2%}', *case.masks(args.rounds)])} |")
    print("\n| rows | laid out, of a fit's seconds | bytes of 16 masks | of their ends | host / ends |")
    print("|---|---|---|---|---|")
    print("\n".join(lines))


class Case:
    """Rows, and fits of a few steps on them."""

    def __init__(self, name: str, data: TrainingData, folder: Path) -> None:
        paradigm, changed = CASES[name]
        selection = Selection(method="sft", dataset="ml-100k", paradigm=paradigm, seed=0, settings=changed)
        llm = resolve(selection).llm
        assert llm is not None
        folder.mkdir()
        self.data, self.run = data, fits.begin_in(folder, llm, seed=0, stages=folder / "stages")
        self.policy = SFT().start(data, self.run)
        self.rows: Sequence[Row] = training_rows(self.policy, data, self.run).rows
        self.batch = llm.train.batch

    @property
    def tokens(self) -> float:
        return float(np.mean([len(row.input_ids) for row in self.rows]))

    def useful(self, parts: int, ordered: bool) -> float:
        tokens = places = 0
        order = np.random.default_rng(0).permutation(len(self.rows))
        for start in range(0, len(order), self.batch):
            step = [self.rows[row] for row in order[start : start + self.batch].tolist()]
            width = self.batch // parts
            batches = [step[at : at + width] for at in range(0, len(step), width)]
            for batch in by_length(batches) if ordered else batches:
                lengths = [len(row.input_ids) for row in batch]
                tokens, places = tokens + sum(lengths), places + max(lengths) * len(lengths)
        return tokens / places

    def steps(self, rounds: int) -> tuple[dict[int, Floats], float]:
        """For each number of micro-batches the seconds of a step against those of one, a ratio a round; and
        the share of seconds that lays batches out where there is one."""
        taken = np.array([[self.fit(parts) for parts in PARTS] for _ in range(rounds)])
        ratios = taken[:, :, 0] / taken[:, :1, 0]
        share = float(np.median(taken[:, 0, 1] / taken[:, 0, 0]))
        return dict(zip(PARTS, ratios.T, strict=True)), share

    def fit(self, parts: int) -> tuple[float, float]:
        """Seconds from the first step to the last, and those of them that laid batches out."""
        begun: list[float] = []
        spent = 0.0
        found = trainer.PolicyTrainer.get_batch_samples

        def timed(*words: Any, **named: Any) -> Any:
            nonlocal spent
            begun.append(time.process_time())
            result = found(*words, **named)
            spent += time.process_time() - begun[-1]
            return result

        settings = self.run.llm.train
        rows = self.rows[: max(ROWS, self.batch)]
        few = replace(settings, epochs=1.0, micro_batch=self.batch // parts, checkpoints=1)
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(trainer.PolicyTrainer, "get_batch_samples", timed),
        ):
            run: LLMRun = replace(self.run, workdir=Path(folder), llm=replace(self.run.llm, train=few))
            train(self.policy, rows, TokenCrossEntropy(), settings=few, run=run)
            return time.process_time() - begun[0], spent

    def preference(self, number: int) -> Row:
        """The first prompt of a row with its own response and those of the five rows after it."""
        of = self.rows[number : number + 6]
        prompt = of[0].input_ids[: int(of[0].predictor[0]) + 1].tolist()
        responses = [row.label[row.response == 0].tolist() for row in of]
        return prefix_tree([(prompt + response, len(prompt)) for response in responses])

    def masks(self, rounds: int) -> list[str]:
        """Bytes of the masks of 16 rows and of their ends, and how the times of a batch with them compare."""
        rows = [self.preference(number) for number in range(16)]
        batch = collate(rows, pad=0)
        width = batch["end"].shape[1]
        ratios = []
        for _ in range(rounds + 1):  # the first warms up
            started = time.perf_counter()
            on_host(rows, int(collate(rows, pad=0)["end"].shape[1]))
            between = time.perf_counter()
            visible_nodes(collate(rows, pad=0)["end"])
            ratios.append((between - started) / (time.perf_counter() - between))
        return [f"{len(rows) * width**2:,}", f"{batch['end'].nbytes:,}", spread(ratios[1:])]


def on_host(rows: Sequence[Row], width: int) -> torch.Tensor:
    """The rows' masks [B, 1, N, N]."""
    mask = np.zeros((len(rows), 1, width, width), dtype=bool)
    mask[:, 0] = np.eye(width, dtype=bool)
    for index, row in enumerate(rows):
        mask[index, 0, : len(row.end), : len(row.end)] = row.mask()
    return torch.from_numpy(mask)


if __name__ == "__main__":
    main()
