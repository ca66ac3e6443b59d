"""What a paper prints for a row of a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recbench.board.model import Printed
from recbench.board.paper.published import PaperTable, every_table
from recbench.board.paper.reproduce import known_causes, printed_gain, ran_as_printed
from recbench.board.rows import MethodRuns
from recbench.results.bundle import Bundle


def printed_tables() -> list[PaperTable]:
    """The papers' tables that print metrics and that runs can stand beside, in the order of the package."""
    return [
        table
        for table in every_table()
        if not table.claim and any("@" in name for row in table.rows for name in row.values)
    ]


def printed_of(row: MethodRuns, tables: Sequence[PaperTable], fits: Mapping[str, Bundle]) -> Printed | None:
    """The first table that prints a method as `row` ran it; None where none does. `fits` are by id."""
    for table in tables:
        for one in table.rows:
            if one.method and ran_as_printed(table, one, row):
                gains = {name: printed_gain(table, one, name) for name in one.values}
                return Printed(
                    source=table.source,
                    name=one.name,
                    values=dict(one.values),
                    gains={name: gain for name, gain in gains.items() if gain is not None},
                    causes=known_causes(table, row, fits),
                )
    return None
