"""A board for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recbench.base.fitting import Fitted, TextColumn
from recbench.board.headline import headline, standing
from recbench.board.model import Board
from recbench.board.render import text
from recbench.board.render.cells import Cell, brief_grid, difference_grid
from recbench.results.metrics import metric_name

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

DISPENSABLE = ("seeds", "certified", "seconds")
"""Columns that a narrow screen leaves out."""


def terminal(board: Board) -> RenderableType:
    """Tables for rich; all text is literal, so nothing in a name is read as markup or as a control code."""
    from rich.console import Group

    parts: list[RenderableType] = []
    for table in board.tables:
        parts.append(_literal(headline(table, board), "bold"))
        parts += [_literal(line) for line in [standing(table, board)] if line]
        columns, rows = brief_grid(table, board.metric, board.pairs)
        parts.append(_table(text.title(table), columns, rows, without=("parent", "reference")))
        if table.num_tests:
            heading = f"differences in {metric_name(board.metric)}"
            parts.append(_table(heading, *difference_grid(table)))
        notes = [
            *text.legend(table, board),
            *(text.block_line(block) for block in table.blocks),
            *(f"missing: {line}" for line in table.missing),
            *(f"as recorded: {line}" for line in text.outside_lines(table)),
        ]
        parts += [_literal(note, "dim") for note in notes]
    parts += [_literal(line) for line in text.across(board)]
    for heading, lines in text.left_out(board):
        parts += [_literal(f"{heading.removeprefix('Runs ')}: {line}", "dim") for line in lines]
    if not board.tables:
        parts.append(_literal("There is no run to rank."))
    return Group(*parts)


def _table(
    heading: str, columns: Sequence[Cell], rows: Sequence[Sequence[Cell]], *, without: Sequence[str] = ()
) -> Fitted:
    kept = [number for number, column in enumerate(columns) if column.key not in without]
    return Fitted(
        _printable(heading),
        [
            TextColumn(
                _printable(columns[number].text),
                is_text=columns[number].value == "text",
                needed=columns[number].key not in DISPENSABLE,
            )
            for number in kept
        ],
        [[_printable(row[number].text) for number in kept] for row in rows],
    )


def _literal(plain: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(_printable(plain), style)


def _printable(plain: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in plain)
