"""Which code of a method made a run: what is recorded of it, and when two runs are of one code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any, Self

from recbench.base import digest
from recbench.base.environment import DISTRIBUTION, FORMER
from recbench.base.files import parse_json, write_text
from recbench.base.layout import fit_folder, records_folder
from recbench.errors import DigestError

FILE = "code.json"
"""In the folder of a fit, from its start: the code that makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCode:
    """The code of a method when its run was planned."""

    distribution: str
    version: str
    """Of the distribution."""
    digest: str
    """sha256 of the syntax trees of `modules`, without docstrings."""
    modules: Sequence[str]
    """The method's module, and those of its own distribution that it imports."""
    commit: str | None = None
    """None where the code lies in no checkout and was installed from none."""
    dirty: bool | None = None
    engine: int | None = None
    """Version of the engine of language models; None for a method that uses none."""
    parent: str | None = None
    """The digest of the code that made the parent's fit; None without a parent, or where it is unknown."""

    def __str__(self) -> str:
        commit = (
            "" if self.commit is None else f", commit {self.commit[:12]}{' and changes' * bool(self.dirty)}"
        )
        parent = "" if self.parent is None else f", parent's code {digest.short(self.parent)}"
        return f"{self.distribution} {self.version}, code {digest.short(self.digest)}{parent}{commit}"

    def is_that_of(self, other: MethodCode) -> bool:
        """Whether both are the same package's same code, also of the parent where both know it."""
        parents = {code.parent for code in (self, other) if code.parent is not None}
        return self.key == other.key and len(parents) < 2

    @property
    def key(self) -> tuple[str, str]:
        """The package and the digest; recbench's own package is one under both of its names."""
        return (DISTRIBUTION if self.distribution == FORMER else self.distribution), self.digest

    def write(self, folder: Path) -> None:
        write_text(folder / FILE, json.dumps(asdict(self), indent=1, sort_keys=True))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The code that made a fit, or began it; None where the folder does not say."""
        try:
            return cls.from_json(parse_json((folder / FILE).read_bytes()))
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    @classmethod
    def of_fit(cls, cache: Path, fit_id: str) -> Self | None:
        """As `read`; earlier versions kept it in the fit's own folder."""
        return cls.read(records_folder(cache, fit_id)) or cls.read(fit_folder(cache, fit_id))

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        names = {entry.name for entry in fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in names})


def check_same(codes: Mapping[str, MethodCode | None]) -> None:
    """DigestError where two of the runs, by name, are of different code. One that has no record, because an
    earlier version made it, is not held against another."""
    known = {name: code for name, code in codes.items() if code is not None}
    for (a, ours), (b, theirs) in combinations(known.items(), 2):
        if not ours.is_that_of(theirs):
            raise DigestError(
                f"runs {a} and {b} were made by different code",
                why=f"{ours}; and {theirs}",
                fix="make both again with recbench run ... --force, or give the new code a raised `version`",
            )


def unknown_note(label: str, codes: Sequence[MethodCode | None]) -> list[str]:
    """A note where runs that are pooled do not all say which code made them."""
    silent = sum(code is None for code in codes)
    if not 0 < silent < len(codes):
        return []
    return [f"{silent} of {len(codes)} runs of {label} do not say which code made them"]
