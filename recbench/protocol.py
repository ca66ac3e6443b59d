"""Evaluation protocols: what is held out, what is ranked, what is counted. Append-only.

A published protocol never changes: a new rule is a new version, so that an old bundle stays readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from recbench.errors import unknown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalProtocol:
    name: str
    version: int
    split: Literal["leave-one-out"]
    history: int
    """At most this many items before a target are shown, the most recent ones."""
    candidates: Literal["catalogue"]
    exclude_seen: bool
    """Whether items of the user's past may be ranked (False: they may)."""
    cutoffs: tuple[int, ...]
    depth: int
    """Length of every ranking; a target below it is a miss."""

    def split_part(self) -> Mapping[str, Any]:
        """What decides the split and the training data."""
        return {"split": self.split, "history": self.history}

    def evaluation_part(self) -> Mapping[str, Any]:
        """What decides a score once the split is given."""
        whole = asdict(self) | {"cutoffs": list(self.cutoffs)}
        return {key: value for key, value in whole.items() if key not in self.split_part()}


PROTOCOLS: Mapping[str, EvalProtocol] = {
    "ilrec": EvalProtocol(
        name="ilrec",
        version=1,
        split="leave-one-out",
        history=20,
        candidates="catalogue",
        exclude_seen=False,
        cutoffs=(1, 5, 10, 20),
        depth=20,
    )
}


def get_protocol(name: str) -> EvalProtocol:
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS, mend="recbench list protocols")
    return PROTOCOLS[name]
