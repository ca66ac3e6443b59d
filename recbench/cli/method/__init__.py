"""`recbench method`: begin a method of one's own, and check it."""

from __future__ import annotations

import typer

from recbench.cli.method.check import check
from recbench.cli.method.new import new
from recbench.cli.reference.help import Grouped

method = typer.Typer(
    help="Begin a method of your own, and check whether it keeps the contract.",
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=None,
)
method.command("new")(new)
method.command("check")(check)
