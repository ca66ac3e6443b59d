"""The cells of a board's tables, which every form but LaTeX shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recbench.board.costs import COSTS, GIB, LATER_COSTS
from recbench.board.model import (
    PARENT,
    BoardRow,
    Difference,
    MeanWithLimits,
    PairFamily,
    SeedMean,
    Table,
)
from recbench.board.render.text import (
    EXTERNAL,
    NONE,
    UNCERTIFIED,
    declared_reference,
    is_parents,
    other_name,
    p_text,
    shown,
)
from recbench.board.views.view import Placing
from recbench.comparison.compare import CHECKPOINTS
from recbench.results.metrics import metric_name

SHOWN_COSTS = tuple(name for name in (*COSTS, *LATER_COSTS) if name != "peak_host_bytes")
"""The host's memory is in board.json alone."""
AS_PARENT = "as vs parent"
EXPOSED = (
    "dgu, mgu: how far the shares of categories (pop: of items of like popularity) in the lists lie from "
    "those in the histories, the spread and the mean; div_ratio: distinct items over all places; or_ratio: "
    "the share of the three most recommended; seen: share of ranked items that the user had. Intervals of "
    "95 % over requests; of several seeds, means of their measures and limits."
)
FIXED = 3
"""Rank, method and metric, which every table has."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; its column sorts by `value`, None last.

    `key` names a column.
    """

    text: str
    value: float | str | None = None
    key: str = ""


def costs_of(table: Table) -> list[str]:
    """The costs that some row has."""
    return [name for name in SHOWN_COSTS if any(row.costs[name] is not None for row in table.rows)]


def grid(table: Table, metric: str, pairs: PairFamily) -> tuple[list[Cell], list[list[Cell]]]:
    """Columns (sort kind `text` or `number`) and rows of cells, which a reader of the page chooses from.

    NDCG@1 and MRR@1 are HR@1, so only that is shown; measures of the lists, only at the metric's cutoff.
    """
    references = table.references
    cutoff = metric.partition("@")[2]
    lists = [name for name in table.metrics if name not in table.switchable and name.endswith(f"@{cutoff}")]
    rest = [*(name for name in table.switchable if name != metric), *lists]
    exposed = exposed_names(table)
    costs = costs_of(table)
    parent = [PARENT] if PARENT in references else []
    others = [name for name in references if name != PARENT]
    declared = others[:1]
    counted = PARENT if PARENT in references else next(iter(references), None)
    head = [
        Cell("rank", "number", "rank"),
        Cell("method", "text", "method"),
        Cell(metric_name(metric), "number", "score"),
        *(Cell(f"vs {name}", "number", "parent") for name in parent),
        *(Cell(f"vs {name}", "number", "reference") for name in declared),
        *([Cell("block", "text", "block")] if table.blocks else []),
        Cell("seeds", "number", "seeds"),
        *(Cell(metric_name(name), "number", name) for name in rest),
        *(Cell(name, "number", name) for name in exposed),
        *([Cell(f"users won / tied / lost vs {counted}", "number", "users")] if counted else []),
        Cell("certified", "number", "certified"),
        *(Cell(cost_name(name), "number", name) for name in costs),
    ]
    rows = [
        [
            _rank(placing, pairs),
            Cell(row.name + (EXTERNAL if row.external else ""), row.name),
            _score(row.metrics.get(metric)),
            *(_versus(row.vs.get(name)) for name in parent),
            *(_references(row, others) for _ in declared),
            *([Cell(row.block or NONE, row.block or "")] if table.blocks else []),
            _seeds(row),
            *(_score(row.metrics.get(name), name) for name in rest),
            *(limits(row.exposed.get(name)) for name in exposed),
            *([_users(row.vs.get(counted))] if counted else []),
            _certified(row),
            *(_cost(row.costs[name], name) for name in costs),
        ]
        for row, placing in zip(table.rows, table.view(metric).rows, strict=True)
    ]
    return head, rows


def brief_grid(table: Table, metric: str, pairs: PairFamily) -> tuple[list[Cell], list[list[Cell]]]:
    """At most eight columns, for forms that a page's width ends: the answer, and what it cost.

    Of the columns after the metric, those without a value are left out.
    """
    references = [name for name in table.references if name != PARENT]
    head = [
        Cell("rank", "number", "rank"),
        Cell("method", "text", "method"),
        Cell(metric_name(metric), "number", "score"),
        Cell(f"vs {PARENT}", "number", "parent"),
        Cell(f"vs {declared_reference(table)}", "number", "reference"),
        Cell("seeds", "number", "seeds"),
        Cell("certified", "number", "certified"),
        Cell(cost_name("seconds"), "number", "seconds"),
    ]
    rows = [
        [
            _rank(placing, pairs),
            Cell(table.title_of(row) + (EXTERNAL if row.external else ""), row.name),
            _score(row.metrics.get(metric)),
            _versus(row.vs.get(PARENT)),
            _references(row, references),
            _seeds(row),
            _certified(row),
            _cost(row.costs["seconds"], "seconds"),
        ]
        for row, placing in zip(table.rows, table.view(metric).rows, strict=True)
    ]
    kept = [n for n in range(len(head)) if n < FIXED or any(row[n].text != NONE for row in rows)]
    return [head[number] for number in kept], [[row[number] for number in kept] for row in rows]


def _references(row: BoardRow, references: Sequence[str]) -> Cell:
    """The difference to the declared reference; of a row of no block, to that of each block."""
    cells = [(name, _versus(row.vs[name])) for name in references if name in row.vs]
    if any(is_parents(row, name) for name, _ in cells):
        return Cell(AS_PARENT, cells[0][1].value)
    if len(cells) < 2:
        return cells[0][1] if cells else Cell(NONE)
    return Cell("; ".join(f"{name}: {cell.text}" for name, cell in cells), cells[0][1].value)


def difference_grid(table: Table) -> tuple[list[Cell], list[list[Cell]]]:
    """One line a difference, for a screen that is too narrow for a column a reference."""
    head = [Cell("method", "text"), Cell("vs", "text"), Cell("difference", "number")]
    rows = [
        [Cell(table.title_of(row)), Cell(other_name(name, difference, table)), _versus(difference)]
        for row, name, difference in shown(table)
    ]
    return head, rows


def _rank(placing: Placing, pairs: PairFamily) -> Cell:
    """The letters only where the verdicts come from the same family."""
    if placing.ranks is None:
        return Cell(NONE)
    ranks = "–".join(map(str, dict.fromkeys(placing.ranks)))
    mark = CHECKPOINTS if placing.of_checkpoint else ""
    shared = f" {placing.letters}" if placing.letters and pairs == "all" else ""
    return Cell(f"{ranks}{mark}{shared}", placing.ranks[0])


def _users(difference: Difference | None) -> Cell:
    if difference is None:
        return Cell(NONE)
    users = difference.users
    return Cell(f"{users.won:,} / {users.tied:,} / {users.lost:,}", users.won - users.lost)


def _seeds(row: BoardRow) -> Cell:
    if row.one_fit:
        return Cell("one fit", 0)
    return Cell(f"{len(row.seeds)}{CHECKPOINTS if row.checkpoints_only else ''}", len(row.seeds))


def _score(score: SeedMean | None, name: str = "") -> Cell:
    if score is None:
        return Cell(NONE)
    digits = 1 if name.startswith("popularity@") else 4
    spread = "" if score.sd is None else f" ± {score.sd:.{digits}f}"
    return Cell(f"{score.mean:.{digits}f}{spread}", score.mean)


def limits(measured: MeanWithLimits | None) -> Cell:
    if measured is None:
        return Cell(NONE)
    return Cell(f"{measured.mean:.4f} [{measured.low:.4f}, {measured.high:.4f}]", measured.mean)


def exposed_names(table: Table) -> list[str]:
    """The exposure measures that some row of the table has, in the order in which they are made."""
    return list(dict.fromkeys(name for row in table.rows for name in row.exposed))


def _versus(difference: Difference | None) -> Cell:
    if difference is None:
        return Cell(NONE)
    systems = "~ " if difference.between_systems else ""
    interval = f"[{difference.low:+.4f}, {difference.high:+.4f}]"
    verdict = f"{difference.verdict}, p {p_text(difference.p_holm)}"
    mark = "" if difference.scope == "methods" else CHECKPOINTS
    return Cell(f"{systems}{difference.difference:+.4f}{mark} {interval} {verdict}", difference.difference)


def _certified(row: BoardRow) -> Cell:
    share = row.certified_share
    if share is None:
        return Cell(NONE)
    # rounding up would call a row certified that is not
    percent = int(share * 1000) / 10
    return Cell(f"{percent:.1f} %{UNCERTIFIED if row.uncertified else ''}", share)


def cost_name(name: str) -> str:
    if name == "peak_gpu_bytes":
        return "peak GPU GiB"
    return name.removeprefix("num_").replace("_", " ").replace("gpu", "GPU").replace("kwh", "kWh")


def _cost(value: float | None, name: str) -> Cell:
    if value is None:
        return Cell(NONE)
    if name == "peak_gpu_bytes":
        return Cell(f"{value / GIB:,.2f}", value)
    if name == "energy_kwh":
        return Cell(f"{value:,.3g}", value)
    return Cell(f"{value:,.1f}" if name.endswith("seconds") else f"{value:,.0f}", value)
