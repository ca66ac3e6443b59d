"""A board as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recbench.board.headline import headline, standing
from recbench.board.model import PARENT, Board, BoardRow, Table
from recbench.board.render import text
from recbench.board.render.cells import SHOWN_COSTS, Cell, cost_name, grid
from recbench.board.render.details import details
from recbench.comparison.critical_difference import critical_difference
from recbench.results.metrics import metric_name

if TYPE_CHECKING:
    from jinja2 import Environment

# what the script needs of a row and of its differences
ROW = ("name", "block", "starts_from", "external", "scope", "vs", "curves", *SHOWN_COSTS)
DIFFERENCE = (
    "against",
    "difference",
    "low",
    "high",
    "low_together",
    "high_together",
    "p_holm",
    "kind",
    "smallest_difference",
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


def html(board: Board) -> str:
    """Sortable, light or dark as the reader's system, readable on a phone and without a script.

    The script switches metric, cutoff, users and reference from the board's numbers, which the page contains.
    """
    page: str = (
        environment()
        .get_template("board.html.j2")
        .render(
            metric=metric_name(board.metric),
            tables=[_table(table, board) for table in board.tables],
            pairs=board.pairs,
            across=text.across(board),
            diagram=_diagram(board),
            left_out=text.left_out(board),
            command=board.command,
            data={
                "metric": board.metric,
                "alpha": board.alpha,
                "pairs": board.pairs,
                "tables": [_data(table) for table in board.tables],
            },
        )
    )
    return page + "\n"


def _diagram(board: Board) -> Any:
    """The critical-difference diagram; None where too few datasets were compared for one."""
    from markupsafe import Markup

    if board.across is None or not board.across.cliques:
        return None
    return Markup(critical_difference(board.across))  # it escapes the names itself


def _table(table: Table, board: Board) -> dict[str, Any]:
    """The values that the template shows."""
    columns, rows = grid(table, board.metric, board.pairs)
    if _reference(table) is None:  # a column for the reference that a reader chooses
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
        "legend": text.legend(table, board),
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


def _data(table: Table) -> dict[str, Any]:
    """The numbers that the script needs, as JSON."""
    rows = []
    for row in table.rows:
        record = row.to_json()
        vs = {name: {key: found[key] for key in DIFFERENCE} for name, found in record["vs"].items()}
        rows.append(
            {
                **{name: record[name] for name in ROW},
                "title": table.title_of(row),
                "brief": _brief(row, table),
                "vs": vs,
                "details": details(row, table),
            }
        )
    return {
        "title": text.title(table),
        "rows": rows,
        "reference": _reference(table),
        "costs": [[name, cost_name(name)] for name in SHOWN_COSTS],
        "switchable": table.switchable,
        "strata": table.strata,
        "views": {
            stratum: {metric: view.to_json() for metric, view in views.items()}
            for stratum, views in table.views.items()
        },
    }


def _brief(row: BoardRow, table: Table) -> str:
    """The row's name for a picture: of its block only the parts that not all blocks share."""
    parts = [block.name.split(" · ") for block in table.blocks]
    own = (row.block or "").split(" · ")
    return " · ".join([row.name, *(part for part in own if part and not all(part in its for its in parts))])


def _reference(table: Table) -> str | None:
    """The declared reference beside the parent, where the table has one."""
    return next((name for name in table.references if name != PARENT), None)
