"""Build next-item examples from the training split and pack them into rows by the block's window rule.

E examples, K rejected responses of an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recbench.base import digest
from recbench.base.progress import DRAWING, Reporter
from recbench.data import Ints, Ragged, Requests, TrainingData
from recbench.llm.items.prompts import Prompts
from recbench.llm.training.pack import Row, prefix_tree, windows
from recbench.method import LLMRun

CHOSEN = 0
"""Slot of the chosen response; rejected responses have the slots 1, 2, ..."""


@dataclass(frozen=True, slots=True, eq=False)
class NextItem:
    """E examples, each in one of the rows.

    A row's column `example` has the numbers of its examples, its column `target` their target items.
    """

    rows: list[Row]  # prompt and target as packed tokens, one example or several in each
    user: Ints  # [E] numbers of users
    history: Ragged  # E rows: the history that the policy sees, oldest first
    target: Ints  # [E] items

    def __len__(self) -> int:
        return len(self.target)

    @property
    def digest(self) -> str:
        """Of histories and targets."""
        history = self.history
        return digest.of_arrays({"values": history.values, "offsets": history.offsets, "target": self.target})

    def take(self, rows: Ints) -> NextItem:
        """The examples of these rows, renumbered."""
        kept = [self.rows[int(row)] for row in rows]
        members = np.concatenate([row.facts["example"] for row in kept])
        ends = np.cumsum([row.num_examples for row in kept])
        return NextItem(
            rows=[
                replace(row, facts={**row.facts, "example": np.arange(end - row.num_examples, end)})
                for row, end in zip(kept, ends, strict=True)
            ],
            user=self.user[members],
            history=self.history.take(members),
            target=self.target[members],
        )

    def requests(self, examples: Ints) -> Requests:
        """The examples' histories, to rank or generate for."""
        return Requests(user=self.user[examples], history=self.history.take(examples))


def next_item(prompts: Prompts, data: TrainingData, run: LLMRun) -> NextItem:
    """Every training target once, or every sampled target, with the history that the packing rule gives it.

    Without `user-blocks` the history is the protocol's window. If the settings limit the rows, the run's seed
    draws a subset.
    """
    settings = run.llm.train
    wanted = None if data.sample is None else set(data.sample.tolist())
    grouped = windows(
        data.sequences,
        history=data.history,
        pack=settings.pack,
        block_items=settings.block_items,
        block_overlap=settings.block_overlap,
    )
    rows: list[Row] = []
    users: list[int] = []
    histories: list[Ints] = []
    targets: list[int] = []
    for user, spans in grouped:
        sequence = data.sequences[user]
        if wanted is not None:
            start = int(data.sequences.offsets[user])
            spans = [(first, end) for first, end in spans if start + end in wanted]
            if not spans:
                continue
        items = [int(sequence[end]) for _, end in spans]
        facts = {
            "example": np.arange(len(targets), len(targets) + len(spans)),
            "target": np.array(items, dtype=np.int64),
        }
        examples = [
            prompts.example(sequence[first:end].tolist(), item)
            for (first, end), item in zip(spans, items, strict=True)
        ]
        rows.append(prefix_tree(examples, facts))
        users += [user] * len(spans)
        histories += [sequence[first:end] for first, end in spans]
        targets += items
    whole = NextItem(
        rows, np.array(users, dtype=np.int64), Ragged.of(histories), np.array(targets, dtype=np.int64)
    )
    if not settings.max_rows or settings.max_rows >= len(rows):
        return whole
    report_drawn(run.report, settings.max_rows, len(rows))
    return whole.take(np.sort(run.rng("rows").permutation(len(rows))[: settings.max_rows]))


def report_drawn(report: Reporter, drawn: int, of: int) -> None:
    """Say how many of the rows there are a stage uses: a measured plan foretells all from these."""
    report.count(all_rows=of, drawn_rows=drawn)
    report.progress(DRAWING, drawn, of)


def with_rejected(
    prompts: Prompts,
    examples: NextItem,
    rejected: Sequence[Sequence[list[int]]],
    *,
    keep_all: bool = False,
) -> list[Row]:
    """The rows of `examples` with the rejected responses `rejected[e]` beside the chosen response of e.

    A response is its token ids with EOS; an example may have no rejected one. Columns, one value a response:
    `example`, and `slot` (`CHOSEN`, else 1, 2, ...). An example without rejected responses is left out unless
    `keep_all`, and so is a row without examples.
    """
    rows = []
    for row in examples.rows:
        sequences: list[tuple[list[int], int]] = []
        columns: dict[str, list[int]] = {"example": [], "slot": []}
        for example in row.facts["example"].tolist():
            others = rejected[example]
            if not others and not keep_all:
                continue
            chosen = prompts.response(int(examples.target[example]))
            # the chosen response comes last, because the next example's prompt may continue it
            sequences += prompts.examples(examples.history[example].tolist(), [*others, chosen])
            columns["example"] += [example] * (len(others) + 1)
            columns["slot"] += [*range(1, len(others) + 1), CHOSEN]
        if sequences:
            facts = {name: np.array(values, dtype=np.int64) for name, values in columns.items()}
            rows.append(prefix_tree(sequences, facts))
    return rows
