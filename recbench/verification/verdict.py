"""What a verification found of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What was checked, what is wrong, and what could not be checked, each in words."""

    run: str
    label: str
    checked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.wrong

    def note(self, what: str, problems: Sequence[str]) -> None:
        """`what` was checked, and gave these problems."""
        self.checked.append(what)
        self.wrong += problems

    def to_json(self) -> dict[str, object]:
        names = ("run", "label", "checked", "wrong", "unchecked")
        return {**{name: getattr(self, name) for name in names}, "sound": self.is_sound}
