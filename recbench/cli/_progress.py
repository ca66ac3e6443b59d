"""How far a command is, on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from recbench.base.progress import Silent

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from recbench.base.progress import Listener

LINE_SECONDS = 10.0  # between two plain lines of one stage


class Talking(Silent, ABC):
    """Says what a preparation logs for people; a curve's numbers are not for the terminal."""

    @abstractmethod
    def say(self, text: str) -> None: ...

    def log(self, **values: float | int | str) -> None:
        if "message" in values:
            self.say(str(values["message"]))


class Lines(Talking):
    """Plain lines: every sentence, and a stage's progress now and then."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}

    def say(self, text: str) -> None:
        typer.echo(text, err=True)

    def progress(self, stage: str, done: int, total: int) -> None:
        whose = run_of(stage)
        last_stage, last_time = self._last.get(whose, ("", 0.0))
        now = time.monotonic()
        if stage != last_stage:
            self._last[whose] = (stage, now)
        elif now - last_time >= LINE_SECONDS:
            self._last[whose] = (stage, now)
            self.say(f"  {stage} {done}/{total}")


class Bars(Talking):
    """A bar for each run that goes on, with its current stage; sentences scroll above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._shown: dict[str, tuple[str, TaskID]] = {}

    def say(self, text: str) -> None:
        from rich.text import Text

        self._clear("")
        self._bars.console.print(Text(text))

    def progress(self, stage: str, done: int, total: int) -> None:
        whose = run_of(stage)
        if self._shown.get(whose, ("",))[0] != stage:
            self._clear(whose)
            self._shown[whose] = (stage, self._bars.add_task(stage, total=total))
        self._bars.update(self._shown[whose][1], completed=done, total=total)
        if whose and done >= total:
            self._clear(whose)

    def _clear(self, whose: str) -> None:
        if whose in self._shown:
            self._bars.remove_task(self._shown.pop(whose)[1])


def run_of(stage: str) -> str:
    """The run of a stage that a pool reports, `RUN: STAGE`; empty where one run goes on at a time."""
    return stage.rpartition(": ")[0]


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener for the length of a command, fit for where stderr goes."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from recbench.cli._output import console

    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        yield Bars(bars)
