"""What leave-one-out lets methods know of the future, and the board of the same data that does not."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import combinations

from recbench.base.words import is_plain, plural
from recbench.board.commands import block_words, is_setting, method_word, recipe_of
from recbench.board.model import Board, Table
from recbench.protocol import PROTOCOLS

TWINS = {"ilrec": "temporal", "candidates": "temporal", "ilrec-50": "temporal-50"}
"""By leave-one-out protocol, that under which every training interaction is earlier than every target."""
LEAK = "Leave-one-out: what other users did after a user's target is trained on, so methods may know it."


def leaks(table: Table) -> bool:
    protocol = PROTOCOLS.get(str(table.protocol["name"]))
    return protocol is not None and protocol.split == "leave-one-out"


def twin(table: Table, tables: Sequence[Table]) -> Table | None:
    """The table of the same data under the temporal protocol."""
    name = TWINS.get(str(table.protocol["name"]))
    return next(
        (one for one in tables if one.dataset == table.dataset and one.protocol["name"] == name), None
    )


def leakage(table: Table, board: Board) -> str:
    """A sentence on a leave-one-out table; empty for another."""
    if not leaks(table):
        return ""
    other = twin(table, board.tables)
    if other is None:
        return f"{LEAK} Its temporal twin is not on this board."
    return f"{LEAK} Its temporal twin is on this board{agreement(table, other, board.metric)}."


def leakage_and_remedy(table: Table, board: Board) -> str:
    """The sentence, and what makes the twin where it is missing."""
    sentence = leakage(table, board)
    made = "; ".join(commands(table)) if sentence and twin(table, board.tables) is None else ""
    return f"{sentence} This makes it: {made}" if made else sentence


def agreement(table: Table, other: Table, metric: str) -> str:
    """Kendall's tau of the means of the rows that both tables have; empty for fewer than three."""
    if metric not in other.metrics:
        return ""
    theirs = {other.title_of(row): row.metrics[metric].mean for row in other.rows}
    means = [
        (row.metrics[metric].mean, theirs[title])
        for row in table.rows
        if (title := table.title_of(row)) in theirs
    ]
    if len(means) < 3:
        return ""
    signs = [(a[0] - b[0]) * (a[1] - b[1]) for a, b in combinations(means, 2)]
    tau = sum((sign > 0) - (sign < 0) for sign in signs) / len(signs)
    return f", where the means of {plural(len(means), 'method')} have Kendall's tau {tau:.2f} with those here"


def commands(table: Table) -> list[str]:
    """What runs the methods of the table under the temporal protocol: a command for each block."""
    temporal = TWINS.get(str(table.protocol["name"]))
    if temporal is None or not is_plain(table.dataset):
        return []
    made = []
    for block in [None] if not table.blocks else table.blocks:
        inside = [row for row in table.rows if block is None or row.block in (block.name, None)]
        recipes = [
            (row.block, *recipe_of(row.label)) for row in inside if not row.external and is_plain(row.label)
        ]
        tuned = [set(values) for its, _, values in recipes if its is not None]
        shared = {value for value in set.intersection(*tuned) if is_setting(value)} if tuned else set()
        methods = dict.fromkeys(
            method_word(name, [value for value in values if value not in shared])
            for _, name, values in recipes
            if name
        )
        seeds = max((len(row.seeds) for row in inside), default=1)
        words = ["recbench", "run", *(word for one in methods for word in ("-m", one)), "-d", table.dataset]
        words += block_words({} if block is None else block.parts)
        words += [word for value in sorted(shared) for word in ("--set", value)]
        made.append(shlex.join([*words, "--protocol", temporal, "--seeds", str(seeds)]))
    return made
