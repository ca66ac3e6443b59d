"""Progress of long work, and records of its training curve."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from typing import Protocol

from recbench.base.words import shown

LINE_SECONDS = 10.0
"""Between two plain lines of one stage."""


DRAWING = "drawing rows"
"""The progress of a stage that uses some of its rows: how many of how many."""


class Reporter(Protocol):
    """Receives progress, curve and counts of a method. No call can change a result."""

    def progress(self, stage: str, done: int, total: int) -> None: ...

    def log(self, **values: float | int | str) -> None:
        """Append a record to the training curve; `step` where there is one. The text of `warning` is shown
        to the user at the end, that of `message` at once, and not kept."""
        ...

    def count(self, **values: int) -> None:
        """Add to the totals of the cost record: `steps`, `trained_tokens`, `supervised_tokens`, ..."""
        ...


class Silent:
    """A reporter and listener that drops everything."""

    def progress(self, stage: str, done: int, total: int) -> None: ...

    def log(self, **values: float | int | str) -> None: ...

    def count(self, **values: int) -> None: ...

    def say(self, text: str) -> None: ...


class Listener(Reporter, Protocol):
    """A reporter that also takes sentences."""

    def say(self, text: str) -> None: ...


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
        print(shown(text), file=sys.stderr, flush=True)

    def progress(self, stage: str, done: int, total: int) -> None:
        whose = run_of(stage)
        last_stage, last_time = self._last.get(whose, ("", 0.0))
        now = time.monotonic()
        if stage != last_stage:
            self._last[whose] = (stage, now)
        elif now - last_time >= LINE_SECONDS:
            self._last[whose] = (stage, now)
            self.say(f"  {stage} {done}/{total}")


def run_of(stage: str) -> str:
    """The run of a stage that a pool reports, `RUN: STAGE`; empty where one run goes on at a time."""
    return stage.rpartition(": ")[0]
