"""What a run is given to work with, in the user's words."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from recbench.errors import UsageError

_UNITS = {"d": 1440.0, "h": 60.0, "m": 1.0, "s": 1 / 60}


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
    """`8h`, `90m`, `1h30m`, `2d`, or Slurm's `[days-]hours:minutes:seconds` and `minutes:seconds`, as whole
    minutes, rounded up. UsageError for anything else.
    """
    if match := re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d\d)", text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return days * 1440 + hours * 60 + minutes + (seconds > 0)
    parts = re.findall(r"(\d+)([dhms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"'{text}' is no length of time", fix="--time 8h, 90m, 1h30m or 08:00:00")
    total = sum(int(number) * _UNITS[unit] for number, unit in parts)
    return max(1, int(total) + (total > int(total)))
