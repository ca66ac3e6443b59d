"""Evaluation protocols: what is held out, what is ranked, what is counted. Append-only.

A published protocol never changes: a new rule is a new version, so that an old bundle stays readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from recbench.errors import unknown_name

Phase = Literal["test", "valid"]
"""Which held-out items are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalProtocol:
    name: str
    version: int
    split: Literal["leave-one-out", "time-cut"]
    """Who asks and for what: the last two items of every user; or the items after two global moments."""
    history: int
    """At most this many items before a target are shown, the most recent ones."""
    candidates: Literal["catalogue", "list"]
    exclude_seen: bool
    """Whether items of the user's past are masked (False: they may be ranked)."""
    cutoffs: tuple[int, ...]
    depth: int
    """Length of every ranking; a target below it is a miss."""
    list_length: int | None = None
    """Candidates of a request, its target among them; a source's own lists keep their length."""
    request: Literal["next", "random"] | None = None
    """Which of a user's interactions of a period is asked for, under a time cut: the first or any."""
    sample_training: int | None = None
    """So many training targets, drawn at random, are all that language models train on."""
    sample_valid: int | None = None
    sample_test: int | None = None
    """So many users of those who could ask do, drawn at random."""

    def split_part(self) -> Mapping[str, Any]:
        """What decides the split and the training data; rules that do not apply are left out."""
        rules = {name: getattr(self, name) for name in SPLIT_RULES}
        return {name: rule for name, rule in rules.items() if rule is not None}

    def evaluation_part(self) -> Mapping[str, Any]:
        """What decides a score once the split is given."""
        whole = asdict(self) | {"cutoffs": list(self.cutoffs)}
        return {name: rule for name, rule in whole.items() if name not in SPLIT_RULES}

    @property
    def draws(self) -> bool:
        """Whether the data seed decides anything."""
        drawn = (self.list_length, self.sample_training, self.sample_valid, self.sample_test)
        return self.request == "random" or any(rule is not None for rule in drawn)


SPLIT_RULES = (
    "split",
    "history",
    "list_length",
    "request",
    "sample_training",
    "sample_valid",
    "sample_test",
)

CUTOFFS = (1, 5, 10, 20)

PROTOCOLS: Mapping[str, EvalProtocol] = {
    one.name: one
    for one in (
        EvalProtocol(
            name="ilrec",
            version=1,
            split="leave-one-out",
            history=20,
            candidates="catalogue",
            exclude_seen=False,
            cutoffs=CUTOFFS,
            depth=20,
        ),
        # 8:1:1 in time, 4,096 / 512 / 1,000 sequences, items not seen before: Section 4.1 of the SOFT paper.
        # It leaves the history open; 10 is that of LLaRA, whose settings it follows.
        EvalProtocol(
            name="soft",
            version=1,
            split="time-cut",
            history=10,
            candidates="catalogue",
            exclude_seen=True,
            cutoffs=CUTOFFS,
            depth=20,
            request="random",
            sample_training=4096,
            sample_valid=512,
            sample_test=1000,
        ),
        # 20 candidates and a history of 10, as LLaRA and S-DPO evaluate
        EvalProtocol(
            name="candidates",
            version=1,
            split="leave-one-out",
            history=10,
            candidates="list",
            exclude_seen=False,
            cutoffs=(1, 5, 10),
            depth=20,
            list_length=20,
        ),
        # nothing of the training split is later than anything that is asked for
        EvalProtocol(
            name="temporal",
            version=1,
            split="time-cut",
            history=20,
            candidates="catalogue",
            exclude_seen=False,
            cutoffs=CUTOFFS,
            depth=20,
            request="next",
        ),
    )
}


def get_protocol(name: str) -> EvalProtocol:
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS, fix="recbench list protocols")
    return PROTOCOLS[name]
