"""A board as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from recbench.board.headline import headline, standing
from recbench.board.model import Board, Table
from recbench.board.render import text
from recbench.board.render.cells import EXPOSED, brief_grid, exposed_names, limits
from recbench.results.metrics import metric_name


def markdown(board: Board) -> str:
    parts = ["# recbench leaderboard", f"Ranked by {metric_name(board.metric)}."]
    for table in board.tables:
        columns, rows = brief_grid(table, board.metric, board.pairs)
        answer = [f"**{escaped(headline(table, board))}**", escaped(standing(table, board))]
        parts += [
            f"## {escaped(text.title(table))}",
            *filter(None, answer),
            escaped(text.description(table)),
        ]
        parts.append(
            grid_text([column.text for column in columns], [[cell.text for cell in row] for row in rows])
        )
        parts.append(_list(text.legend(table, board)))
        if any(row.exposed for row in table.rows):
            parts += ["### What the lists expose users to", _exposure(table), EXPOSED]
        for heading, lines in text.sections(table):
            parts += [f"### {heading}", _list(lines)]
    if lines := text.across(board):
        parts += ["## Across datasets", _list(lines)]
    for heading, lines in text.left_out(board):
        parts += [f"## {heading}", _list(lines)]
    if not board.tables:
        parts.append("There is no run to rank.")
    parts.append(f"Rebuild: {escaped(board.command)}")
    return "\n\n".join(parts) + "\n"


def _exposure(table: Table) -> str:
    names = exposed_names(table)
    rows = [[limits(row.exposed.get(name)).text for name in names] for row in table.rows]
    titles = [table.title_of(row) for row in table.rows]
    return grid_text(["method", *names], [[title, *row] for title, row in zip(titles, rows, strict=True)])


def escaped(plain: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    flat = re.sub(r"\s+", " ", plain)
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", flat)


def grid_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = f"| {' | '.join('---' for _ in head)} |"
    first, *rest = [f"| {' | '.join(escaped(cell) for cell in line)} |" for line in (head, *rows)]
    return "\n".join([first, rule, *rest])


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines)
