"""What commands print: tables for people, JSON for programs, progress on stderr.

User text never reaches rich as markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from recbench.base.progress import Lines, Talking, run_of
from recbench.base.words import HIDDEN, masked, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from recbench.base.progress import Listener

PLAIN_WIDTH = 200  # columns of a table that goes to a file or a pipe


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text as it is meant: without control characters, and without passwords of addresses."""
    typer.echo(shown(text), err=err, nl=nl)


def warn(text: str) -> None:
    echo(f"warning: {text}", err=True)


def print_json(value: Any) -> None:
    text = masked(json.dumps(value, indent=1, ensure_ascii=False))
    typer.echo(HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    out = Console(stderr=stderr, highlight=False)
    return out if out.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str = "",
    dispensable: Collection[str] = (),
    stderr: bool = False,
) -> None:
    """Columns whose every cell is a number are set flush right.

    No name is broken: a narrow screen leaves out `dispensable` columns, wraps cells between words, or has
    each row in lines of its own.
    """
    from recbench.base.fitting import Fitted, TextColumn

    numeric = [
        bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        for index in range(len(columns))
    ]
    heads = [
        TextColumn(shown(column), is_text=index == 0 or not numeric[index], needed=column not in dispensable)
        for index, column in enumerate(columns)
    ]
    cells = [[shown(cell_text(cell)) for cell in row] for row in rows]
    console(stderr=stderr).print(Fitted(shown(title), heads, cells, wrap=True))


def print_pairs(lines: Sequence[tuple[str, object]]) -> None:
    """Keys and values; numbers in their shortest form, for 1e-05 is no 0.0000."""
    rows = [(key, f"{value:g}" if isinstance(value, float) else str(value)) for key, value in lines]
    print_table(("key", "value"), rows)


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


class Bars(Talking):
    """A bar for each run that goes on, with its current stage; sentences scroll above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._shown: dict[str, tuple[str, TaskID]] = {}

    def say(self, text: str) -> None:
        from rich.text import Text

        self._clear("")
        self._bars.console.print(Text(shown(text)))

    def progress(self, stage: str, done: int, total: int) -> None:
        whose = run_of(stage)
        if self._shown.get(whose, ("",))[0] != stage:
            self._clear(whose)
            self._shown[whose] = (stage, self._bars.add_task(shown(stage), total=total))
        self._bars.update(self._shown[whose][1], completed=done, total=total)
        if whose and done >= total:
            self._clear(whose)

    def _clear(self, whose: str) -> None:
        if whose in self._shown:
            self._bars.remove_task(self._shown.pop(whose)[1])


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener for the length of a command, fit for where stderr goes."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        yield Bars(bars)
