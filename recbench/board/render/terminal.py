"""A board for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recbench.board.headline import headline, standing
from recbench.board.model import Board
from recbench.board.render import text
from recbench.board.render.cells import Cell, difference_grid, grid
from recbench.results.metrics import metric_name

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


def terminal(board: Board) -> RenderableType:
    """Tables for rich; all text is literal, so nothing in a name is read as markup or as a control code."""
    from rich.console import Group

    parts: list[RenderableType] = []
    for table in board.tables:
        parts.append(_literal(headline(table, board), "bold"))
        parts += [_literal(line) for line in [standing(table, board)] if line]
        parts.append(_table(text.title(table), *grid(table, board.metric, board.pairs, short=True)))
        if table.num_tests:
            heading = f"differences in {metric_name(board.metric)}"
            parts.append(_table(heading, *difference_grid(table)))
        notes = [
            *text.legend(table, board),
            *(text.block_line(block) for block in table.blocks),
            *(f"missing: {line}" for line in table.missing),
        ]
        parts += [_literal(note, "dim") for note in notes]
    parts += [_literal(line) for line in text.across(board)]
    for heading, lines in text.left_out(board):
        parts += [_literal(f"{heading.removeprefix('Runs ')}: {line}", "dim") for line in lines]
    if not board.tables:
        parts.append(_literal("There is no run to rank."))
    return Group(*parts)


def _table(heading: str, columns: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> RenderableType:
    from rich import box
    from rich.table import Table

    grid = Table(title=_literal(heading), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        left = column.value == "text"
        grid.add_column(
            _literal(column.text),
            justify="left" if left else "right",
            no_wrap=not left,
            overflow="fold",
        )
    for row in rows:
        grid.add_row(*(_literal(cell.text) for cell in row))
    return grid


def _literal(plain: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(
        "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in plain), style
    )
