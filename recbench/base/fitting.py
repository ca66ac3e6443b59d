"""Tables for a terminal that break no name: columns are left out, cells wrapped by words, rows stacked."""

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
    wrap: bool = False
    """Whether a cell may go on in another line between its words. A word of more than half the screen may
    break anywhere."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        if self.title:
            yield Text(self.title, "italic")
        widths = self._widths()
        every = kept = list(range(len(self.columns)))
        for number in reversed(every):
            if _total([widths[one] for one in kept]) > options.max_width and not self.columns[number].needed:
                kept = [one for one in kept if one != number]
        if _total([widths[one] for one in kept]) <= options.max_width:
            yield self._table(kept)
        elif self.wrap and _total(words := self._words(kept, options.max_width)) <= options.max_width:
            yield self._table(kept, _shared([widths[one] for one in kept], words, options.max_width))
        else:
            yield from self._stacked(options.max_width)
            kept = every
        left_out = [self.columns[number].head for number in every if number not in kept]
        if left_out:
            yield Text(f"no room here for: {', '.join(left_out)}", "dim")
        yield Text("")

    def _widths(self) -> list[int]:
        from rich.cells import cell_len

        lines = [[column.head for column in self.columns], *self.rows]
        return [max(cell_len(line[number]) for line in lines) for number in range(len(self.columns))]

    def _words(self, kept: Sequence[int], width: int) -> list[int]:
        """The longest word of each column."""
        from rich.cells import cell_len

        lines = [[column.head for column in self.columns], *self.rows]
        longest = [
            max((cell_len(word) for line in lines for word in line[number].split()), default=1)
            for number in kept
        ]
        return [min(one, width // 2) for one in longest]

    def _table(self, kept: Sequence[int], widths: Sequence[int] | None = None) -> RenderableType:
        """As wide as its cells, or with words wrapped at `widths`."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        # of the gap one column is the box's own
        padding = (0, GAP - 1, 0, 0)
        table = Table(box=box.SIMPLE_HEAD, padding=padding, pad_edge=False, show_edge=False)
        for place, number in enumerate(kept):
            column = self.columns[number]
            table.add_column(
                Text(column.head),
                justify="left" if column.is_text else "right",
                no_wrap=widths is None,
                overflow="fold",
                width=None if widths is None else widths[place],
            )
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
            known = [f"{self.columns[other].head} {row[other]}" for other in others]
            for line in [*known, *([values] if values else [])]:
                yield Padding(Text(_breakable(line, width - INDENT)), (0, 0, 0, INDENT), expand=False)


def _shared(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths within the room: the widest columns give first, and none below its least."""
    ends = list(zip(natural, least, strict=True))
    cap = max(natural)
    while _total([max(low, min(wide, cap)) for wide, low in ends]) > room:
        cap -= 1
    return [max(low, min(wide, cap)) for wide, low in ends]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _breakable(name: str, width: int) -> str:
    """A name that no screen line holds may break between its settings."""
    from rich.cells import cell_len

    return name if cell_len(name) <= width else name.replace(",", ", ")
