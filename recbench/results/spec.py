"""The identity of a fit and of a run: everything that decides their numbers, resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from recbench.base import digest
from recbench.protocol import Phase


@dataclass(frozen=True, kw_only=True)
class FitSpec:
    """The identity of a fit. What a method does not use is None, so that it does not split identities."""

    method: str
    method_version: int
    params: Mapping[str, Any]  # resolved and coerced, defaults included
    dataset: str
    split: str  # digest
    limit_users: int | None
    llm: Mapping[str, Any] | None  # backbone, paradigm, identifiers, train, and the engine's own identity
    parent: str | None  # id of the parent fit
    seed: int | None

    @cached_property
    def id(self) -> str:
        return digest.short(digest.of_json(asdict(self)))


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """The identity of a run: a fit, ranked by one ranker and evaluated under one protocol."""

    fit: FitSpec
    ranker: Mapping[str, Any] | None  # name and parameters; None where a method ranks by scores
    protocol: Mapping[str, Any]  # the evaluation part
    phase: Phase = "test"

    @cached_property
    def id(self) -> str:
        return digest.short(
            digest.of_json(
                {"fit": self.fit.id, "ranker": self.ranker, "protocol": self.protocol, "phase": self.phase}
            )
        )

    @cached_property
    def method_key(self) -> str:
        """What the runs of one method share: all of a run's identity but the seed and the parent's fit."""
        alike = replace(self, fit=replace(self.fit, seed=None, parent=None))
        return digest.of_json(alike.to_json())

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "fit_id": self.fit.id, **asdict(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunSpec:
        """The inverse of `to_json`; ids are recomputed, not trusted."""
        return cls(
            fit=FitSpec(**record["fit"]),
            ranker=record["ranker"],
            protocol=record["protocol"],
            phase=record["phase"],
        )
