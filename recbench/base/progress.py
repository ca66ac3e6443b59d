"""Progress of long work, and records of its training curve."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives progress, curve and counts of a method. No call can change a result."""

    def progress(self, stage: str, done: int, total: int) -> None: ...

    def log(self, **values: float | int | str) -> None:
        """Append a record to the training curve; `step` where there is one. The text of `warning` is shown
        to the user at the end."""
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
