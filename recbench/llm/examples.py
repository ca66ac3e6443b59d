"""Next-item examples of the training split, packed into rows by the block's window rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recbench.data import Ints, Ragged, TrainingData
from recbench.llm.pack import Row, prefix_tree, windows
from recbench.llm.prompts import Prompts
from recbench.settings import TrainSettings


@dataclass(frozen=True, slots=True, eq=False)
class NextItem:
    """E examples, each in one of the rows; a row's column `example` numbers its examples, `target` names
    their items."""

    rows: list[Row]
    history: Ragged  # E rows: what the policy was shown, oldest first
    target: Ints  # [E]


def next_item(prompts: Prompts, data: TrainingData, settings: TrainSettings) -> NextItem:
    """Every training target once, or every sampled one, after the history that the packing rule gives it.

    Without `user-blocks` that is the protocol's window.
    """
    wanted = None if data.sample is None else set(data.sample.tolist())
    grouped = windows(
        data.sequences,
        history=data.history,
        pack=settings.pack,
        block_items=settings.block_items,
        block_overlap=settings.block_overlap,
    )
    rows: list[Row] = []
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
        histories += [sequence[first:end] for first, end in spans]
        targets += items
    return NextItem(rows, Ragged.of(histories), np.array(targets, dtype=np.int64))
