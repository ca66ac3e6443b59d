"""What a run is given to work with, in the user's words."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from recbench.errors import UsageError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    gpus: int = 1
    """GPUs, and processes, on each node."""
    nodes: int = 1
    minutes: int | None = None
    """The time limit; None: the scheduler's own."""

    def with_flags(self, *, gpus: int | None, nodes: int | None, minutes: int | None) -> Resources:
        """With what was given on the command line on top."""
        given: dict[str, Any] = {"gpus": gpus, "nodes": nodes, "minutes": minutes}
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def minutes_of(text: str) -> int:
    """As `seconds_of`, in whole minutes, rounded up."""
    return max(1, -(-seconds_of(text) // 60))


def seconds_of(text: str) -> int:
    """`8h`, `90m`, `1h30m`, `2d`, or Slurm's `[days-]hours:minutes:seconds` and `minutes:seconds`.

    UsageError for anything else.
    """
    if match := re.fullmatch(r"(?:(?:(\d{1,4})-)?(\d{1,6}):)?(\d{1,6}):(\d\d)", text, re.ASCII):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        found = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    else:
        parts = re.findall(r"(\d{1,9})([dhms])", text, re.ASCII)
        whole = "".join(number + unit for number, unit in parts) == text
        found = sum(int(number) * _UNITS[unit] for number, unit in parts) if whole else 0
    if not found:
        raise UsageError(f"'{text}' is no length of time", fix="--time 8h, 90m, 1h30m or 08:00:00")
    return found
