"""`recbench reproduce`: the tables of papers beside finished runs. Needs no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from recbench.cli._options import JsonOption, RootOption, find_root
from recbench.cli._output import echo


def reproduce(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="ilrec-table1 ... ilrec-table6, soft-table2.")
    ],
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Set a paper's table beside ours: ratio, gain over SFT, intervals, verdicts, and why they may differ."""
    from dataclasses import asdict

    from recbench.board.paper.published import published
    from recbench.board.paper.reproduce import reproduce
    from recbench.board.paper.text import COLUMNS, commands, groups, legend, line, summary
    from recbench.cli._output import print_json, print_table
    from recbench.cli._runs import all_bundles

    wanted = published(table)
    cells = reproduce(wanted, all_bundles(find_root(root)))
    if json:
        record = {"table": wanted.name, "source": wanted.source, "commands": commands(wanted)}
        print_json({**record, "cells": [asdict(cell) for cell in cells]})
        return
    echo(f"{wanted.title} ({wanted.source})")
    for text in summary(wanted, cells):
        echo(text)
    for heading, inside in groups(cells).items():
        print_table(list(COLUMNS), [line(cell) for cell in inside], title=heading)
    for text in legend(wanted, cells):
        echo(text)
