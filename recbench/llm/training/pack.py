"""Pack examples that share a beginning into rows, each a prefix tree of tokens.

A row is the prefix tree of its examples' token sequences: a shared history is computed once, and each example
branches off where it differs. Position ids are depths, and a token sees itself and its ancestors alone, so
every example has the log-probabilities that it has alone. No example is cut, and only a batch
of rows is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged

Span = tuple[int, int]
"""An example of a sequence: its history starts at the first index and ends before the second, its target."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """N tree nodes, each followed by its descendants, and S supervised predictions."""

    input_ids: Ints  # [N]
    position: Ints  # [N] depth
    end: Ints  # [N] the node after the last descendant; node i sees node j where j <= i < end[j]
    predictor: Ints  # [S] the node whose output predicts the label
    label: Ints  # [S] the token to predict
    response: Ints  # [S] index of the example within the row
    step: Ints  # [S] index within the response
    num_examples: int
    facts: dict[str, Any] = field(default_factory=dict)
    """A method's columns, one value for each example of the row."""

    @property
    def is_chain(self) -> bool:
        return bool(self.end.min() == len(self.end))

    def mask(self) -> NDArray[np.bool_]:
        """[N, N] whether a node sees another: its ancestors and itself."""
        node = np.arange(len(self.end))
        return (node <= node[:, None]) & (node[:, None] < self.end)


def num_tokens(rows: Sequence[Row]) -> int:
    """Tokens that one pass over `rows` reads."""
    return sum(len(row.input_ids) for row in rows)


def prefix_tree(examples: Sequence[tuple[list[int], int]], facts: dict[str, Any] | None = None) -> Row:
    """Pack (token ids, start of the response) pairs into one row.

    Consecutive examples share their common beginning, so examples in the order of their history need
    the fewest nodes. The last token of an example is predicted but never read, so it is no node.
    """
    ids: list[NDArray[np.int64]] = []
    position: list[Ints] = []
    left: list[tuple[Ints, int]] = []  # nodes whose descendants are complete, and the node after the last
    predictor: list[Ints] = []
    label: list[Ints] = []
    step: list[Ints] = []
    path = read = np.zeros(0, dtype=np.int64)
    num_nodes = 0
    for sequence, start in examples:
        tokens = np.asarray(sequence, dtype=np.int64)
        overlap = min(len(read), len(tokens) - 1)
        differs = np.flatnonzero(read[:overlap] != tokens[:overlap])
        shared = int(differs[0]) if len(differs) else overlap
        added = len(tokens) - 1 - shared
        left.append((path[shared:], num_nodes))
        path = np.concatenate([path[:shared], np.arange(num_nodes, num_nodes + added)])
        read = tokens[:-1]
        if added:
            ids.append(tokens[shared:-1])
            position.append(np.arange(shared, len(tokens) - 1))
            num_nodes += added
        predictor.append(path[start - 1 :])
        label.append(tokens[start:])
        step.append(np.arange(len(tokens) - start))
    counts = [len(part) for part in label]
    end = np.full(num_nodes, num_nodes)
    for nodes, after in left:
        end[nodes] = after
    return Row(
        input_ids=np.concatenate(ids),
        position=np.concatenate(position),
        end=end,
        predictor=np.concatenate(predictor),
        label=np.concatenate(label),
        response=np.repeat(np.arange(len(examples)), counts),
        step=np.concatenate(step),
        num_examples=len(examples),
        facts=facts or {},
    )


def windows(
    sequences: Ragged, *, history: int, pack: str, block_items: int, block_overlap: int
) -> list[tuple[int, list[Span]]]:
    """Cut users' sequences into examples, and group the examples that share a row.

    Returns (user, [(start, end), ...]) for each row: a history is `sequence[start:end]`, its target
    `sequence[end]`. `none`: one example a row, with the last `history` items. `user`: the same examples, in
    one row where their histories start at the same item. `user-blocks`: blocks of at most `block_items`
    items, each beginning with the last `block_overlap` items of the block before it, which are read but not
    predicted again; a history is the part of its block before the target.
    """
    rows: list[tuple[int, list[Span]]] = []
    for user, length in enumerate(sequences.lengths.tolist()):
        if pack == "user-blocks":
            groups = _blocks(length, block_items, block_overlap)
        else:
            groups = _sliding(length, history, together=pack == "user")
        rows += [(user, spans) for spans in groups]
    return rows


def _blocks(length: int, items: int, overlap: int) -> list[list[Span]]:
    """Blocks of at most `items` items, each beginning with the last `overlap` of the block before it."""
    blocks = []
    start = 0
    while start < length and (start == 0 or start + overlap < length):
        stop = min(start + items, length)
        ends = range(start + (overlap if start else 1), stop)
        if ends:
            blocks.append([(start, end) for end in ends])
        start = stop - overlap if stop < length else length
    return blocks


def _sliding(length: int, history: int, *, together: bool) -> list[list[Span]]:
    """Every target after its last `history` items; `together`, those that start at the same item."""
    groups: dict[int, list[Span]] = {}
    for end in range(1, length):
        start = max(0, end - history)
        groups.setdefault(start if together else end, []).append((start, end))
    return list(groups.values())
