"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["passed", "failed", "declined", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """The result of one check, and for a failed one how to fix the method."""

    check: str
    status: Status
    what: str = ""
    """What failed, or why the check was not made; of a passed one what was measured."""
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class FailedCheckError(Exception):
    """Raised inside a check: what failed, and how to fix it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


class NotApplicableError(Exception):
    """Raised inside a check that says nothing of this method, with the reason."""


def failed(findings: Iterable[CheckFinding]) -> list[str]:
    """The names of the failed checks."""
    return [finding.check for finding in findings if finding.status == "failed"]
