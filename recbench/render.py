"""A board as Markdown, as one HTML file, and for the terminal; each from the board's value alone.

Equal boards give equal bytes. Whatever a user may have named is escaped for the form that shows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

Board = Mapping[str, Any]

CHECKPOINTS = "†"
UNCERTIFIED = "‡"
NONE = "–"
PLOT_WIDTH, PLOT_HEIGHT, PLOT_MARGIN = 120, 16, 6


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a table's cell; `value` is what the column sorts by (None sorts last)."""

    text: str
    value: float | str | None = None
    plot: Mapping[str, str] | None = None


def markdown(board: Board) -> str:
    parts = ["# recbench leaderboard", f"Ranked by {_metric(board['metric'])}."]
    for table in board["tables"]:
        columns, rows = _grid(table, board["metric"], short=False)
        parts += [f"## {_md(title(table))}", _md(description(table))]
        parts.append(
            _md_table([column.text for column in columns], [[cell.text for cell in row] for row in rows])
        )
        parts += [
            _md_list(legend(table, board)),
            *_md_section("Blocks", [_block(b) for b in table["blocks"]]),
        ]
        parts += [*_md_section("Differences between machines", _differences(table))]
        parts += [
            *_md_section("Digests", [f"{key}: {value}" for key, value in sorted(table["digests"].items())])
        ]
    parts += _md_section("Runs left out", [_excluded(run) for run in board["excluded"]])
    if not board["tables"]:
        parts.append("There is no run to rank.")
    parts.append(f"Rebuild: {_md(board['command'])}")
    return "\n\n".join(parts) + "\n"


def html(board: Board) -> str:
    """One page that needs no network: sortable, light or dark as the reader's system, readable on a phone."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recbench", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables = []
    for table in board["tables"]:
        columns, rows = _grid(table, board["metric"], short=False)
        tables.append(
            {
                "title": title(table),
                "description": description(table),
                "columns": columns,
                "rows": rows,
                "legend": legend(table, board),
                "blocks": [_block(block) for block in table["blocks"]],
                "differences": _differences(table),
                "digests": sorted(table["digests"].items()),
            }
        )
    page: str = environment.get_template("board.html.j2").render(
        metric=_metric(board["metric"]),
        tables=tables,
        excluded=[_excluded(run) for run in board["excluded"]],
        command=board["command"],
        plot={
            "width": PLOT_WIDTH,
            "height": PLOT_HEIGHT,
            "middle": PLOT_HEIGHT // 2,
            "zero": PLOT_WIDTH // 2,
        },
    )
    return page + "\n"


def terminal(board: Board) -> RenderableType:
    """Tables for rich; all text is literal, so nothing in a name is read as markup or as a control code."""
    from rich.console import Group

    parts: list[RenderableType] = []
    for table in board["tables"]:
        parts.append(_rich_table(title(table), *_grid(table, board["metric"], short=True)))
        if table["num_tests"]:
            heading = f"differences in {_metric(board['metric'])}"
            parts.append(_rich_table(heading, *_difference_grid(table)))
        notes = [*legend(table, board), *(_block(block) for block in table["blocks"])]
        parts += [_literal(note, "dim") for note in notes]
    parts += [_literal(f"left out: {_excluded(run)}", "dim") for run in board["excluded"]]
    if not board["tables"]:
        parts.append(_literal("There is no run to rank."))
    return Group(*parts)


def _rich_table(heading: str, columns: Sequence[Cell], rows: Sequence[Sequence[Cell]]) -> RenderableType:
    from rich import box
    from rich.table import Table

    grid = Table(title=_literal(heading), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        text = column.value == "text"
        grid.add_column(
            _literal(column.text),
            justify="left" if text else "right",
            no_wrap=not text,
            overflow="fold",
        )
    for row in rows:
        grid.add_row(*(_literal(cell.text) for cell in row))
    return grid


def _literal(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(
        "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text), style
    )


def title(table: Mapping[str, Any]) -> str:
    return f"{table['dataset']}, protocol {table['protocol']['name']} v{table['protocol']['version']}"


def description(table: Mapping[str, Any]) -> str:
    protocol = table["protocol"]
    seen = "not ranked" if protocol["exclude_seen"] else "ranked too"
    return (
        f"{table['num_requests']:,} requests; candidates: {protocol['candidates']}; seen items: {seen}; "
        f"{protocol['depth']} places; split {table['split'][:12]}."
    )


def legend(table: Mapping[str, Any], board: Board) -> list[str]:
    """What a reader must know to read the table, as sentences."""
    metric = _metric(board["metric"])
    lines = _place_legend([row["place"] for row in table["rows"]], board["alpha"])
    if table["references"]:
        lines.append(
            f"vs: difference in {metric} with its 95 % interval, then p adjusted by Holm for the "
            f"{table['num_tests']} differences shown. Within a block it is an effect of the method; "
            "across blocks (marked ~) a difference between systems."
        )
    if table["smallest_difference"] is not None:
        lines.append(
            f"Smallest difference in {metric} that every comparison here finds with "
            f"{board['power']:.0%} power: {table['smallest_difference']:.4f}."
        )
    if any(row["scope"] != "methods" for row in table["rows"]):
        lines.append(f"{CHECKPOINTS} one seed: these checkpoints only; nothing is said about other seeds.")
    if any(row["uncertified"] for row in table["rows"]):
        lines.append(
            f"{UNCERTIFIED} more than 1 % of the rankings are not certified to equal exhaustive scoring."
        )
    return lines + list(table["notes"])


def _place_legend(places: Sequence[int | None], alpha: float) -> list[str]:
    lines = []
    if any(place is not None for place in places):
        lines.append(
            "Place: 1 + the number of rows that are better beyond noise (Holm over all pairs of the table, "
            f"adjusted p at most {alpha:g}); a place that rows share is a tie (=). Exploratory."
        )
    if None in places:
        lines.append(f"Place {NONE}: not known, as one seed beside one seed says nothing of the methods.")
    return lines


def _grid(table: Mapping[str, Any], metric: str, *, short: bool) -> tuple[list[Cell], list[list[Cell]]]:
    """Columns (sort kind `text` or `number`) and rows of cells; `short` leaves out what is too wide.

    NDCG@1 and MRR@1 are HR@1, so only that is shown.
    """
    references = [] if short else table["references"]
    rest = [] if short else [name for name in table["metrics"] if name not in (metric, "ndcg@1", "mrr@1")]
    costs = ["seconds"] if short else ["seconds", "trained_tokens", "generated_tokens", "num_parameters"]
    costs = [name for name in costs if any(row[name] is not None for row in table["rows"])]
    head = [
        Cell("place", "number"),
        Cell("method", "text"),
        *([Cell("block", "text")] if table["blocks"] else []),
        Cell("seeds", "number"),
        Cell(_metric(metric), "number"),
        *(Cell(f"vs {label}", "number") for label in references),
        *(Cell(_metric(name), "number") for name in rest),
        Cell("certified", "number"),
        *(Cell(name.removeprefix("num_").replace("_", " "), "number") for name in costs),
    ]
    places = [row["place"] for row in table["rows"]]
    scales = {label: _scale(table["rows"], label) for label in references}
    rows = [
        [
            _place(row["place"], places),
            Cell(row["name"], row["name"]),
            *([Cell(row["block"] or NONE, row["block"] or "")] if table["blocks"] else []),
            _seeds(row),
            _score(row["metrics"].get(metric)),
            *(_versus(row["vs"].get(label), scales[label]) for label in references),
            *(_score(row["metrics"].get(name), name) for name in rest),
            _certified(row),
            *(_cost(row[name], name) for name in costs),
        ]
        for row in table["rows"]
    ]
    return head, rows


def _difference_grid(table: Mapping[str, Any]) -> tuple[list[Cell], list[list[Cell]]]:
    """One line a difference, for a screen that is too narrow for a column a reference."""
    head = [Cell("method", "text"), Cell("vs", "text"), Cell("difference", "number")]
    rows = [
        [Cell(row["name"]), Cell(label), _versus(row["vs"][label], 1.0)]
        for row in table["rows"]
        for label in table["references"]
        if label in row["vs"]
    ]
    return head, rows


def _place(place: int | None, places: Sequence[int | None]) -> Cell:
    if place is None:
        return Cell(NONE)
    return Cell(f"{place}{'=' if places.count(place) > 1 else ''}", place)


def _seeds(row: Mapping[str, Any]) -> Cell:
    if row["seeds"] == [None]:
        return Cell("one fit", 0)
    return Cell(f"{len(row['seeds'])}{CHECKPOINTS if row['scope'] != 'methods' else ''}", len(row["seeds"]))


def _score(value: Mapping[str, Any] | None, name: str = "") -> Cell:
    if value is None:
        return Cell(NONE)
    digits = 1 if name.startswith("popularity@") else 4
    spread = "" if value["sd"] is None else f" ± {value['sd']:.{digits}f}"
    return Cell(f"{value['mean']:.{digits}f}{spread}", value["mean"])


def _versus(difference: Mapping[str, Any] | None, scale: float) -> Cell:
    if difference is None:
        return Cell(NONE)
    across = "" if difference["kind"] == "effect of the method" else "~ "
    low, middle, high = (difference[name] for name in ("low", "difference", "high"))
    verdict = f"{difference['verdict']}, p {_p(difference['p_holm'])}"
    text = f"{across}{middle:+.4f} [{low:+.4f}, {high:+.4f}] {verdict}"
    half = PLOT_WIDTH / 2
    x_low, x, x_high = (f"{half + value / scale * (half - PLOT_MARGIN):.1f}" for value in (low, middle, high))
    return Cell(text, middle, {"low": x_low, "x": x, "high": x_high, "verdict": difference["verdict"]})


def _scale(rows: Sequence[Mapping[str, Any]], label: str) -> float:
    """The largest distance from zero that any interval of the column reaches."""
    ends = [abs(row["vs"][label][end]) for row in rows if label in row["vs"] for end in ("low", "high")]
    return max(ends, default=0.0) or 1.0


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _certified(row: Mapping[str, Any]) -> Cell:
    share = row["certified_share"]
    if share is None:
        return Cell(NONE)
    # rounding up would call a row certified that is not
    percent = int(share * 1000) / 10
    return Cell(f"{percent:.1f} %{UNCERTIFIED if row['uncertified'] else ''}", share)


def _cost(value: float | None, name: str) -> Cell:
    if value is None:
        return Cell(NONE)
    return Cell(f"{value:,.1f}" if name == "seconds" else f"{value:,.0f}", value)


def _metric(name: str) -> str:
    head, at, cutoff = name.partition("@")
    return (head.upper() if head in ("hr", "ndcg", "mrr") else head) + at + cutoff


def _block(block: Mapping[str, str]) -> str:
    return f"{block['name']}: " + "; ".join(f"{key} {block[key]}" for key in block if key != "name")


def _differences(table: Mapping[str, Any]) -> list[str]:
    return [f"{key}: {' | '.join(values)}" for key, values in sorted(table["differs"].items())]


def _excluded(run: Mapping[str, str]) -> str:
    return f"{run['label']} on {run['dataset']} ({run['id']}): {run['why']}"


def _md(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    flat = re.sub(r"\s+", " ", text)
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", flat)


def _md_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    escaped = [[cell if number == 1 else _md(cell) for cell in line] for number, line in enumerate(lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _md_list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_md(line)}" for line in lines)


def _md_section(heading: str, lines: Sequence[str]) -> list[str]:
    return [f"### {heading}", _md_list(lines)] if lines else []
