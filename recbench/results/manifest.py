"""What a bundle says of its run in `manifest.json`, beside the files that it seals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from recbench.results.fit_record import Facts
from recbench.results.guarded import Guarded
from recbench.results.method_code import MethodCode
from recbench.results.spec import RunSpec

SEAL = ("status", "reason", "files")
"""The keys of manifest.json that are added when the bundle is sealed; `Bundle` has them as fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedRanking:
    """Where a ranking came from that was made elsewhere."""

    file: str = ""
    """The name of the file."""
    sha256: str = ""
    split: str | None = None
    """Digest of the split that it was made for; None where no record says so."""
    notes: Sequence[str] = ()
    """What its readers must know."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        names = {entry.name for entry in fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What was run, on what, by which code and on which machine, and how it was scored.

    A run that failed, and a ranking that was made elsewhere, leave out what they do not have.
    """

    spec: RunSpec
    label: str
    """The method with its parameters that are not defaults."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """The parameters that are not defaults."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """The chain of digests: `raw`, `log`, `split`, `catalogue`, and those that a language model adds."""
    statistics: Mapping[str, Any] = field(default_factory=dict)
    """Counts of the dataset and the split."""
    versions: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, Any] = field(default_factory=dict)
    """`commit` and `dirty` of the harness."""
    method_code: MethodCode | None = None
    """The method's own; None for a ranking made elsewhere, and for runs of earlier versions."""
    hardware: Mapping[str, Any] = field(default_factory=dict)
    started: str | None = None
    finished: str | None = None
    off_protocol: bool = False
    reasons: Sequence[str] = ()
    """Why the run is off protocol."""
    external: bool = False
    """Whether the ranking was made elsewhere, so that nothing is known of the training."""
    ranking: ImportedRanking | None = None
    facts: Facts = field(default_factory=Facts)
    guard: Guarded | None = None
    """None for a ranking made elsewhere, and for runs of earlier versions."""
    did_not_train: bool = False
    num_requests: int | None = None
    certified_share: float | None = None
    """Share of the requests whose ranking is certified; None where the ranker certifies nothing."""
    nodes_per_user: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Keys that this version does not know, kept as they are."""

    def to_json(self) -> dict[str, Any]:
        times = {"started": self.started, "finished": self.finished}
        return {
            **self.more,
            **{name: getattr(self, name) for name in PLAIN},
            "spec": self.spec.to_json(),
            "facts": self.facts.to_json(),
            **({} if self.guard is None else {"guard": asdict(self.guard)}),
            "timings": {name: time for name, time in times.items() if time is not None},
            **({} if self.ranking is None else {"ranking": asdict(self.ranking)}),
            **({} if self.method_code is None else {"method_code": asdict(self.method_code)}),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. A key that an earlier version did not write has its default."""
        left = {name: value for name, value in record.items() if name not in SEAL}
        spec, timings = RunSpec.from_json(left.pop("spec")), left.pop("timings", {})
        ranking, facts = left.pop("ranking", None), left.pop("facts", {})
        guard = left.pop("guard", None)
        code = left.pop("method_code", None)
        plain = {name: left.pop(name) for name in PLAIN if name in left}
        return cls(
            spec=spec,
            **{"label": spec.fit.method, **plain},
            started=timings.get("started"),
            finished=timings.get("finished"),
            ranking=None if ranking is None else ImportedRanking.from_json(ranking),
            facts=Facts.from_json(facts),
            guard=None if guard is None else Guarded.from_json(guard),
            method_code=None if code is None else MethodCode.from_json(code),
            more=left,
        )


NESTED = ("spec", "started", "finished", "ranking", "facts", "guard", "method_code", "more")
PLAIN = tuple(entry.name for entry in fields(Manifest) if entry.name not in NESTED)
"""The fields that are in manifest.json under their own names, as they are."""
