"""What the guard of a worker did and saw, as its driver keeps it and as the field `guard` of a manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from recbench.base.files import parse_json, write_text

GUARD = "guard.json"
NONE, AUDIT = "none", "audit"
KNOWN = re.compile(rf"{NONE}|{AUDIT}|landlock ABI [0-9]{{1,3}} \+ audit")
MOST, LONGEST = 100, 300
"""So many marks, and so many other records, are kept, and so many letters of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """By what the test targets were kept from a method, and what it tried."""

    by: str = NONE
    """`landlock ABI n + audit`, `audit` or `none`; the weakest where several processes had a part in it."""
    marks: tuple[str, ...] = ()
    """Refused accesses, and what the method's own code started or connected to."""
    seen: tuple[str, ...] = ()
    """What recbench and libraries started or connected to."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        marks, seen = (tuple(record.get(name, ())) for name in ("marks", "seen"))
        return cls(by=record.get("by", NONE), marks=marks, seen=seen)

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Of a fit, or of a ranking that is not sealed yet; None where nothing was recorded."""
        try:
            return cls.from_json(parse_json(file.read_bytes()))
        except FileNotFoundError:
            return None

    @classmethod
    def take(cls, file: Path) -> Self | None:
        """Read the record and remove its file, which is no part of a bundle."""
        found = cls.read(file)
        file.unlink(missing_ok=True)
        return found


class Watch:
    """What the workers of a fit or a ranking tell its driver, kept in `file` over all attempts.

    Each event is on disk before the next is read. The file lies where no worker writes.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        before = Guarded.read(file)
        self._by = [] if before is None else [before.by]
        self._marks = [] if before is None else list(before.marks)
        self._seen = [] if before is None else list(before.seen)

    def take(self, event: Mapping[str, Any]) -> None:
        """An event has one of `by`, `marks` and `seen`."""
        for name, values in (("by", self._by), ("marks", self._marks), ("seen", self._seen)):
            if name not in event:
                continue
            text = str(event[name])[:LONGEST]
            if name == "by" and not KNOWN.fullmatch(text):
                text = NONE  # what no guard says, a method does
            if text not in values and len(values) < MOST:
                values.append(text)
        self.write()

    def write(self) -> None:
        by = min(self._by, key=_strength, default=NONE)
        record = Guarded(by=by, marks=tuple(self._marks), seen=tuple(self._seen))
        write_text(self._file, json.dumps(asdict(record), indent=1))


def joined(parts: Sequence[Guarded]) -> Guarded:
    """Of all fits and rankings that had a part in a run."""
    return Guarded(
        by=min((part.by for part in parts), key=_strength, default=NONE),
        marks=_joined(part.marks for part in parts),
        seen=_joined(part.seen for part in parts),
    )


def _joined(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Each once, in the order of their first appearance, at most MOST."""
    return tuple(dict.fromkeys(text for part in parts for text in part))[:MOST]


def _strength(by: str) -> tuple[int, int]:
    """Landlock above the audit hook alone, and a newer version above an older one."""
    if by in (NONE, AUDIT):
        return (NONE, AUDIT).index(by), 0
    return 2, int("".join(filter(str.isdigit, by)) or 0)
