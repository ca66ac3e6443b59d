"""What commands print: tables for people, JSON for programs. User text never reaches rich as markup."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 200  # columns of a table that goes to a file or a pipe


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    out = Console(stderr=stderr, highlight=False)
    return out if out.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "", stderr: bool = False
) -> None:
    """Columns whose every cell is a number are set flush right. A title is as wide as the screen."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console(stderr=stderr)
    if title:
        out.print(Text(title, "italic"))
    table = Table(box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(
            Text(column), justify="right" if numeric else "left", overflow="fold", no_wrap=index == 0
        )
    for row in rows:
        table.add_row(*(Text(cell_text(cell)) for cell in row))
    out.print(table)


def cell_text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def interval_text(mean: float, low: float, high: float) -> str:
    return f"{mean:.4f} [{low:.4f}, {high:.4f}]"


def flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """A record in rows for people: nested keys with dots, lists a line each, empty values left out."""
    rows: list[tuple[str, object]] = []
    for key, value in record.items():
        parts = list(value) if isinstance(value, (list, tuple)) else []
        if isinstance(value, dict):
            rows += flat(value, f"{prefix}{key}.")
        elif parts and isinstance(parts[0], dict):
            for number, part in enumerate(parts, start=1):
                rows += flat(part, f"{prefix}{key}.{number}.")
        elif parts:
            rows.append((f"{prefix}{key}", "\n".join(str(part) for part in parts)))
        elif value not in ("", None, [], ()):
            rows.append((f"{prefix}{key}", value))
    return rows
