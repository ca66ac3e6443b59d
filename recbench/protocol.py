"""Evaluation protocols: what is held out, what is ranked, what is counted. Append-only.

A published protocol never changes: a new rule is a new version, so that an old bundle stays readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from recbench.errors import unknown_name

Phase = Literal["test", "valid"]
"""Which held-out items are the targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalProtocol:
    """The rules of a split, of what is ranked for a request, and of what is counted."""

    name: str
    """As `--protocol` takes it."""
    version: int
    """Raised for a new rule; a published version never changes."""
    split: Literal["leave-one-out", "time-cut", "time-rows"]
    """The targets: the last two items of every user, items after two global moments, or the last fifth of all
    rows in time, where a row is an interaction with its user's earlier ones as history."""
    history: int
    """Most items of a history: the most recent ones before the target."""
    candidates: Literal["catalogue", "list"]
    """What is ranked: the whole catalogue, or a list for each request."""
    exclude_seen: bool
    """Whether items that the user has seen are masked (False: they may be ranked)."""
    cutoffs: tuple[int, ...]
    """The K of the reported metrics."""
    depth: int
    """Length of every ranking; a target below it is a miss."""
    list_length: int | None = None
    """Candidates of a request, including its target; lists that the source prescribes keep their length."""
    request: Literal["next", "random"] | None = None
    """Under a time cut, the target among a user's interactions of a period: the first or a random one."""
    sample_training: int | None = None
    """Training targets of language models, drawn at random; None for all."""
    sample_valid: int | None = None
    """Users with a validation request, drawn at random; None for all."""
    sample_test: int | None = None
    """Users with a test request, drawn at random; None for all."""
    asks: Literal["once", "repeatedly"] = "once"
    """How often a user asks in a phase. Where users ask repeatedly, means are over requests and every error
    is that of users (see `estimand`)."""

    def split_part(self) -> Mapping[str, Any]:
        """The rules that decide the split and the training data, without those that do not apply."""
        rules = {name: getattr(self, name) for name in SPLIT_RULES}
        return {name: rule for name, rule in rules.items() if rule is not None}

    def evaluation_part(self) -> Mapping[str, Any]:
        """The rules that decide a score, given the split."""
        whole = asdict(self) | {"cutoffs": list(self.cutoffs)}
        if self.asks == "once":  # runs from before the rule do not record it
            del whole["asks"]
        return {name: rule for name, rule in whole.items() if name not in SPLIT_RULES}

    @property
    def draws(self) -> bool:
        """Whether the data seed has an effect."""
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
DEEP_CUTOFFS = (1, 3, 5, 10, 20, 50)
"""Those of MiniOneRec and of the papers whose splits it shares."""
PRIMARY_METRIC = "ndcg@10"
"""By which methods are compared, tuned and ranked where nothing else is asked for."""

_ILREC = EvalProtocol(
    name="ilrec",
    version=1,
    split="leave-one-out",
    history=20,
    candidates="catalogue",
    exclude_seen=False,
    cutoffs=CUTOFFS,
    depth=20,
)
# every training interaction is earlier than every target
_TEMPORAL = EvalProtocol(
    name="temporal",
    version=1,
    split="time-cut",
    history=20,
    candidates="catalogue",
    exclude_seen=False,
    cutoffs=CUTOFFS,
    depth=20,
    request="next",
)
PROTOCOLS: Mapping[str, EvalProtocol] = {
    protocol.name: protocol
    for protocol in (
        _ILREC,
        # 8:1:1 in time, 4,096 / 512 / 1,000 sequences, items not seen before: Section 4.1 of the SOFT paper.
        # The paper does not state the history; 10 is the history of LLaRA, whose settings it follows.
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
        _TEMPORAL,
        # the rows of D3, IGD, ReRe and MiniOneRec: ordered by the time of their target and cut 8:1:1
        EvalProtocol(
            name="time-rows",
            version=1,
            split="time-rows",
            history=10,
            candidates="catalogue",
            exclude_seen=False,
            cutoffs=DEEP_CUTOFFS,
            depth=50,
            asks="repeatedly",
        ),
        # the splits of `ilrec` and `temporal` with the depth and the cut-offs of `time-rows`
        replace(_ILREC, name="ilrec-50", cutoffs=DEEP_CUTOFFS, depth=50),
        replace(_TEMPORAL, name="temporal-50", cutoffs=DEEP_CUTOFFS, depth=50),
    )
}
"""By name."""


def asks_repeatedly(protocol: Mapping[str, Any]) -> bool:
    """Whether users ask repeatedly under the protocol whose evaluation part a run records."""
    return protocol.get("asks") == "repeatedly"


def estimand(protocol: Mapping[str, Any]) -> str:
    """What a mean is over and what its error is of, where that is not one request a user; else empty."""
    return REPEATED if asks_repeatedly(protocol) else ""


REPEATED = (
    "A user asks repeatedly: means are over requests, so that whoever asks more counts more; errors, tests "
    "and intervals are over users, whose requests stay together."
)


def get_protocol(name: str) -> EvalProtocol:
    """The protocol called `name`. UsageError for an unknown name, with the nearest known one."""
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS, fix="recbench list protocols")
    return PROTOCOLS[name]
