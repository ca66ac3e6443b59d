"""A board as one HTML page that needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recbench.board.headline import headline, standing
from recbench.board.leakage import commands, leakage, twin
from recbench.board.model import Board, Table
from recbench.board.render import text
from recbench.board.render.bibtex import bibtex
from recbench.board.render.cells import EXPOSED, Cell, exposed_names, grid
from recbench.board.render.latex import SPECIAL
from recbench.board.render.numbers import numbers
from recbench.board.render.users import users_of
from recbench.comparison.critical_difference import critical_difference

if TYPE_CHECKING:
    from jinja2 import Environment

    from recbench.results.bundle import Bundle

MOST_BYTES = 5_000_000
"""Of a page; the ranks of users stand on it where they fit."""
SLACK = 1000
SCRIPTS = (
    "data",
    "chart",
    "labels",
    "forest",
    "pictures",
    "columns",
    "details",
    "address",
    "downloads",
    "section",
    "start",
)
CHARTS = (
    (
        "cost",
        "Accuracy against cost",
        "cost",
        "Cost",
        "The line joins the rows that no other beats in both. Bars are 95 % intervals.",
    ),
    (
        "groups",
        "By group of users",
        "groups",
        "Groups",
        "Thirds of the users, with 95 % intervals; how many users each has stands in brackets.",
    ),
    (
        "curves",
        "Training",
        "series",
        "Series",
        "Means over seeds, by step. Series beside losses and rates are a method's own diagnostics.",
    ),
)
NO_BLOCK = "Without a language model, or made elsewhere"


def environment() -> Environment:
    """The templates of the pages."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("recbench.board.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return found


def html(board: Board, runs: Sequence[Bundle] = ()) -> str:
    """Sortable, light or dark as the reader's system, readable on a phone and without a script.

    The script switches metric, cutoff, users and reference from the board's numbers, which the page contains.
    It also contains the rank of each user's target in `runs`, dataset by dataset as long as MOST_BYTES allow.
    """
    known = {run.id: run for run in runs}
    data = [_data(table, board) for table in board.tables]
    left = MOST_BYTES - len(_page(board, data).encode()) if runs else 0
    for table, record in zip(board.tables, data, strict=True):
        users = users_of(table, known)
        if users is not None and (size := len(json.dumps(users)) + SLACK) < left:
            record["users"] = users
            left -= size
    return _page(board, data)


def _data(table: Table, board: Board) -> dict[str, Any]:
    return {
        **numbers(table),
        "users": None,
        "bibtex": bibtex(table, board),
    }


def _page(board: Board, data: Sequence[dict[str, Any]]) -> str:
    page: str = (
        environment()
        .get_template("board.html.j2")
        .render(
            name=_name(board),
            tables=[_table(table, board) for table in board.tables],
            charts=CHARTS,
            scripts=SCRIPTS,
            pairs=board.pairs,
            verified=f"Verified: {board.verified[0]}." if board.verified else "",
            across=text.across(board),
            diagram=_diagram(board),
            left_out=text.left_out(board),
            command=board.command,
            data={
                "metric": board.metric,
                "alpha": board.alpha,
                "pairs": board.pairs,
                "latex": SPECIAL,
                "tables": data,
            },
        )
    )
    return page + "\n"


def _name(board: Board) -> str:
    """The board's folder, which its command names; empty for the local one, which is on no page of boards."""
    named = board.command.split()[3:4]
    return named[0] if named and not named[0].startswith("-") else ""


def _diagram(board: Board) -> Any:
    """The critical-difference diagram; None where too few datasets were compared for one."""
    from markupsafe import Markup

    if board.across is None or not board.across.cliques:
        return None
    return Markup(critical_difference(board.across))  # it escapes the names itself


def _table(table: Table, board: Board) -> dict[str, Any]:
    """The values that the template shows."""
    columns, rows = grid(table, board.metric, board.pairs)
    leak, other = leakage(table, board), twin(table, board.tables)
    if text.declared_reference(table) is None:  # a column for the reference that a reader chooses
        after = next(number for number, column in enumerate(columns) if column.key == "score") + 1
        columns.insert(after, Cell(f"vs {text.NONE}", "number", "reference"))
        for row in rows:
            row.insert(after, Cell(text.NONE))
    return {
        "title": text.title(table),
        "answer": headline(table, board),
        "standing": standing(table, board),
        "description": text.description(table),
        "columns": columns,
        "groups": _groups(table, rows),
        "leakage": leak,
        "twin": None if not leak or other is None else board.tables.index(other),
        "remedy": commands(table) if leak and other is None else [],
        "legend": [*text.legend(table, board, leak=False), *([EXPOSED] if exposed_names(table) else [])],
        "blocks": table.blocks,
        "sections": text.sections(table),
    }


def _groups(table: Table, rows: Sequence[Sequence[Cell]]) -> list[dict[str, Any]]:
    """The rows of each block, with their numbers; a block that is alone has no name."""
    groups: dict[str | None, list[tuple[int, Sequence[Cell]]]] = {}
    for number, (row, cells) in enumerate(zip(table.rows, rows, strict=True)):
        groups.setdefault(row.block, []).append((number, cells))
    alone = len(groups) == 1
    return [{"name": "" if alone else block or NO_BLOCK, "rows": inside} for block, inside in groups.items()]
