"""Tables for a terminal that break no name: columns that have no room are left out, or rows are stacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

GAP = 2  # columns of the screen between two columns of the table
INDENT = 2


@dataclass(frozen=True, slots=True)
class TextColumn:
    head: str
    is_text: bool = False
    """Set flush left, as a name."""
    needed: bool = True
    """Whether a row says nothing without it; a narrow screen leaves out the others, from the right."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table as wide as its cells, for rich to print. All text is literal and printable."""

    title: str
    columns: Sequence[TextColumn]
    rows: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        if self.title:
            yield Text(self.title, "italic")
        widths = self._widths()
        every = kept = list(range(len(self.columns)))
        for number in reversed(every):
            if _total([widths[one] for one in kept]) > options.max_width and not self.columns[number].needed:
                kept = [one for one in kept if one != number]
        if _total([widths[one] for one in kept]) > options.max_width:
            yield from self._stacked(options.max_width)
        else:
            yield self._table(kept)
            left_out = [self.columns[number].head for number in every if number not in kept]
            if left_out:
                yield Text(f"no room here for: {', '.join(left_out)}", "dim")
        yield Text("")

    def _widths(self) -> list[int]:
        from rich.cells import cell_len

        lines = [[column.head for column in self.columns], *self.rows]
        return [max(cell_len(line[number]) for line in lines) for number in range(len(self.columns))]

    def _table(self, kept: Sequence[int]) -> RenderableType:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        # of the gap one column is the box's own
        padding = (0, GAP - 1, 0, 0)
        table = Table(box=box.SIMPLE_HEAD, padding=padding, pad_edge=False, show_edge=False)
        for number in kept:
            column = self.columns[number]
            table.add_column(Text(column.head), justify="left" if column.is_text else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*(Text(row[number]) for number in kept))
        return table

    def _stacked(self, width: int) -> Iterator[RenderableType]:
        """The name of a row on a line of its own; below it other names and what is known."""
        from rich.padding import Padding
        from rich.text import Text

        name, *others = [number for number, column in enumerate(self.columns) if column.is_text]
        numbers = [number for number, column in enumerate(self.columns) if not column.is_text]
        for row in self.rows:
            yield Text(_breakable(row[name], width))
            values = ", ".join(f"{self.columns[number].head} {row[number]}" for number in numbers)
            for line in [*(f"{self.columns[other].head} {row[other]}" for other in others), values]:
                yield Padding(Text(_breakable(line, width - INDENT)), (0, 0, 0, INDENT), expand=False)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _breakable(name: str, width: int) -> str:
    """A name that no screen line holds may break between its settings."""
    from rich.cells import cell_len

    return name if cell_len(name) <= width else name.replace(",", ", ")
