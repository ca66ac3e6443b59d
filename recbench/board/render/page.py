"""A board as one HTML page that needs no network."""

from __future__ import annotations

from typing import Any

from recbench.board.render import text
from recbench.board.render.text import Board, Cell, Table
from recbench.comparison.across_datasets import Across
from recbench.comparison.critical_difference import critical_difference

ROW = ("name", "block", "starts_from", "external", "vs", "curves", *text.COSTS)
CELL = ("against", "difference", "low", "high", "p_holm", "kind")


def html(board: Board) -> str:
    """Sortable, light or dark as the reader's system, readable on a phone and without a script.

    The script switches metric, cutoff, users and reference from the board's numbers, which the page holds.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recbench.board.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    page: str = environment.get_template("board.html.j2").render(
        metric=text.metric_name(board["metric"]),
        tables=[_table(table, board) for table in board["tables"]],
        pairs=board["pairs"],
        across=text.across(board),
        diagram=_diagram(board),
        left_out=text.left_out(board),
        command=board["command"],
        data={
            "metric": board["metric"],
            "alpha": board["alpha"],
            "pairs": board["pairs"],
            "tables": [_data(table) for table in board["tables"]],
        },
    )
    return page + "\n"


def _diagram(board: Board) -> Any:
    """The critical-difference diagram, where the datasets are enough for one."""
    from markupsafe import Markup

    found = board["across"]
    if found is None or not found["cliques"]:
        return None
    return Markup(critical_difference(Across(**{**found, "pairs": ()})))  # it escapes the names itself


def _table(table: Table, board: Board) -> dict[str, Any]:
    columns, rows = text.grid(table, board["metric"])
    if _reference(table) is None:  # a column for the reference that a reader chooses
        after = next(number for number, column in enumerate(columns) if column.key == "score") + 1
        columns.insert(after, Cell(f"vs {text.NONE}", "number", "reference"))
        for row in rows:
            row.insert(after, Cell(text.NONE))
    return {
        "title": text.title(table),
        "description": text.description(table),
        "columns": columns,
        "rows": rows,
        "legend": text.legend(table, board),
        "blocks": table["blocks"],
        "sections": text.sections(table),
    }


def _data(table: Table) -> dict[str, Any]:
    """What the script needs of a table."""
    rows = [{name: row[name] for name in ROW} for row in table["rows"]]
    for row in rows:
        row["vs"] = {name: {key: one[key] for key in CELL} for name, one in row["vs"].items()}
    return {
        "rows": rows,
        "reference": _reference(table),
        "costs": [[name, text.cost_name(name)] for name in text.COSTS],
        "switchable": table["switchable"],
        "strata": table["strata"],
        "views": table["views"],
    }


def _reference(table: Table) -> str | None:
    """The declared reference beside the parent, where the table has one."""
    return next((name for name in table["references"] if name != text.PARENT), None)
