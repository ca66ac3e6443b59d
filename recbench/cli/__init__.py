"""The command line. What is heavy is imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from recbench.base.words import shown
from recbench.cli import (
    compare,
    data,
    import_ranking,
    jobs,
    leaderboard,
    method,
    plan,
    reproduce,
    run,
    score,
    tune,
)
from recbench.cli._output import echo
from recbench.cli.reference import list_show
from recbench.cli.reference.help import Grouped
from recbench.cli.upkeep import doctor, gc, mlflow
from recbench.errors import RecbenchError, of_file

app = typer.Typer(
    name="recbench",
    cls=Grouped,
    help="Compare preference-tuning methods for LLM-based recommendation under one protocol.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from recbench.base.environment import own_version

        echo(f"recbench {own_version()}")
        raise typer.Exit


@app.callback()
def _whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    _verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks; may stand anywhere.")
    ] = False,
) -> None:
    """Compare preference-tuning methods for LLM-based recommendation under one protocol."""


COMMANDS: Mapping[str, Mapping[str, Callable[..., None] | typer.Typer]] = {
    "Run": {
        "run": run.run,
        "plan": plan.plan,
        "tune": tune.tune,
        "status": jobs.status,
        "logs": jobs.logs,
        "cancel": jobs.cancel,
        "retry": jobs.retry,
    },
    "Results": {
        "compare": compare.compare,
        "score": score.score,
        "verify": score.verify,
        "leaderboard": leaderboard.leaderboard,
        "reproduce": reproduce.reproduce,
        "import-ranking": import_ranking.import_ranking,
    },
    "Data": {"data": data.data},
    "Methods of your own": {"method": method.method},
    "What there is": {"list": list_show.list_names, "show": list_show.show},
    "Upkeep": {
        "doctor": doctor.doctor,
        "sync": mlflow.sync,
        "ui": mlflow.ui,
        "gc": gc.gc,
    },
}
"""By panel of `--help`, in its order there."""

for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 some runs failed, 2 usage, 3 missing, 4 digests, 5 check."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    rest = [word for word in words if word not in ("-v", "--verbose")]
    verbose = len(rest) < len(words)
    try:
        app(args=rest, prog_name="recbench")
    except RecbenchError as error:
        if verbose:
            sys.stderr.write(shown(traceback.format_exc()))
        sys.stderr.write(shown(error_text(error)))
        sys.exit(error.exit_code)
    except OSError as error:
        if verbose:
            sys.stderr.write(shown(traceback.format_exc()))
        sys.stderr.write(shown(error_text(of_file(error))))
        sys.exit(3)
    except Exception as error:
        if verbose:
            sys.stderr.write(shown(traceback.format_exc()))
        what = f"{type(error).__name__}: {error}"
        sys.stderr.write(shown(f"error: recbench itself failed: {what}\n  try: the same command with -v\n"))
        sys.exit(1)


def error_text(error: RecbenchError) -> str:
    lines = [f"error: {error.what}"]
    lines += [f"  why: {error.why}"] if error.why else []
    lines += [f"  try: {error.fix}"] if error.fix else []
    return "\n".join(lines) + "\n"
