"""Options that several commands share, and the choice of the root folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recbench.base.root import Root

RootOption = Annotated[
    Path | None, typer.Option("--root", help="Folder of runs and caches.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Download nothing.")]
StudyOption = Annotated[
    str | None, typer.Option("--study", help="A study: its name under leaderboards/, or its file.")
]
PRIMARY_METRIC = "ndcg@10"
MetricOption = Annotated[str, typer.Option("--metric", help="Metric to compare by, e.g. hr@5.")]


def find_root(flag: Path | None) -> Root:
    from recbench.base.root import discover

    return discover(flag)
