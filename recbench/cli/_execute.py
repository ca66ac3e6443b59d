"""What commands that do runs share: the end by Ctrl-C, and the results on the terminal."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer

from recbench.cli._output import echo

if TYPE_CHECKING:
    from recbench.base.progress import Listener
    from recbench.results.bundle import Bundle


@contextmanager
def interruptible(said: str = "interrupted; the same command continues") -> Iterator[Listener]:
    """A listener; Ctrl-C and SIGTERM end the command with exit code 130, and its workers with it."""
    from recbench.cli._output import listening

    with listening() as listener, _terminated_as_interrupt():
        try:
            yield listener
        except KeyboardInterrupt:
            listener.say(said)
            raise typer.Exit(130) from None


def print_and_exit(bundles: Sequence[Bundle], *, as_json: bool) -> None:
    """Print the results; exit code 1 where a run failed."""
    print_results(bundles, as_json=as_json)
    if any(bundle.status == "failed" for bundle in bundles):
        raise typer.Exit(1)


def print_results(bundles: Sequence[Bundle], *, as_json: bool) -> None:
    from recbench.cli._output import print_json, print_table
    from recbench.cli._runs import headline, next_command, run_record, task_lines

    if as_json:
        print_json([run_record(run) for run in bundles])
        return
    finished = [run for run in bundles if run.status == "complete"]
    for run in finished:
        if run.manifest.did_not_train:
            echo(f"warning: {run.label} did not train: its policy is where its parent was", err=True)
        for warning in run.warnings():
            echo(f"warning: {run.label}: {warning}", err=True)
    for line in task_lines(finished):
        echo(line, err=True)
    if finished:
        columns, rows = headline(finished)
        print_table(columns, rows, title="metrics with 95 % intervals over users")
    for run in bundles:
        if run.status == "failed":
            reason = run.reason or {}
            echo(f"failed: {run.label} on {run.spec.fit.dataset} ({reason.get('class')}), {run.path}")
            what = reason.get("what", reason.get("message"))
            said = {"what": what, "why": reason.get("why"), "at": reason.get("at"), "try": reason.get("fix")}
            for name, text in {**said, "log": f"recbench logs {run.id}"}.items():
                if text:
                    echo(f"  {name}: {text}")
    if finished:
        echo(f"folder: {finished[0].path.parent}")
        echo(f"next: {next_command(finished)}")


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM stops a run as Ctrl-C does, so that its worker ends with it."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
