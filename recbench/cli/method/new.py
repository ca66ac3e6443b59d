"""`recbench method new`: a small package that passes the checks as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli._output import echo


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The method's name, e.g. my-method.")],
    kind: Annotated[
        str, typer.Option("--kind", help="preference, token-loss, on-policy, llm or scorer.")
    ] = "preference",
    to: Annotated[Path | None, typer.Option("--to", help="Where its folder goes. [here]")] = None,
) -> None:
    """Write a package with a method that works, its test and its README, to be changed into your own."""
    from recbench.conformance.skeleton import write

    folder = write(name, kind, to or Path.cwd())
    for path in sorted(folder.iterdir()):
        echo(f"wrote {path}")
    echo(f"next: pip install -e {folder}\n      recbench method check {name}", err=True)
