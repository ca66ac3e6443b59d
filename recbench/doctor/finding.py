"""What one check found."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SECONDS = 15.0


Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    name: str
    status: Status
    """`missing`: something cannot be run as things are."""
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said; `code` is None where it is absent or did not answer in time."""

    code: int | None
    text: str
    """Its stdout, or what went wrong in one line."""

    @property
    def good(self) -> bool:
        return self.code == 0


def ask(command: Sequence[str], *, seconds: float = SECONDS) -> Answer:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, errors="replace")
    except subprocess.TimeoutExpired:
        return Answer(None, f"{command[0]} did not answer within {seconds:g} s")
    except OSError as error:
        return Answer(None, f"{command[0]}: {error.strerror}")
    if done.returncode == 0:
        return Answer(0, done.stdout.strip())
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return Answer(done.returncode, lines[-1] if lines else f"exit code {done.returncode}")
