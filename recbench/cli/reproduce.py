"""`recbench reproduce`: the tables of papers beside finished runs. Needs no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from recbench.cli._options import JsonOption, RootOption, find_root
from recbench.cli._output import echo


def reproduce(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="ilrec-table1 ... ilrec-table6, soft-table2; claims such as msl-table5, minionerec-table1.",
        ),
    ],
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Set a paper's table beside ours: ratio, gain over SFT, intervals, verdicts, and why they may differ."""
    from dataclasses import asdict

    from recbench.board.paper import text
    from recbench.board.paper.floors import floors
    from recbench.board.paper.published import published
    from recbench.board.paper.reproduce import reproduce
    from recbench.cli._output import print_json, print_table
    from recbench.cli._runs import all_bundles

    wanted, bundles = published(table), all_bundles(find_root(root))
    cells, beside = reproduce(wanted, bundles), floors(wanted, bundles)
    if json:
        record = {"table": wanted.name, "source": wanted.source, "claim": wanted.claim}
        lists = {"commands": text.commands(wanted), "floors": [asdict(one) for one in beside]}
        print_json({**record, **lists, "cells": [asdict(cell) for cell in cells]})
        return
    echo(f"{wanted.title} ({wanted.source})")
    for said in [*text.summary(wanted, cells), *text.floor_summary(wanted, beside)]:
        echo(said)
    columns, line = (text.OF_CLAIMS, text.claim_line) if wanted.claim else (text.COLUMNS, text.line)
    for heading, inside in text.groups(cells).items():
        print_table(columns, [line(cell) for cell in inside], title=heading)
    for dataset in dict.fromkeys(one.dataset for one in beside):
        rows = [text.floor_line(one) for one in beside if one.dataset == dataset]
        print_table(text.OF_FLOORS, rows, title=f"{dataset}, floors")
    for said in text.legend(wanted, cells):
        echo(said)
