"""What a fit and a ranking record of themselves: `fit.json`, `facts.json` and `rank.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from recbench.base.digest import canonical_json, is_short
from recbench.base.environment import PeakMemory
from recbench.base.files import parse_json, read_plain, write_text
from recbench.errors import CheckError

FIT, FACTS, RANK = "fit.json", "facts.json", "rank.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a method leaves in `facts.json` of its fit's folder, for the bundle."""

    identifiers: str | None = None
    """Digest of the identifiers of the items."""
    num_parameters: Mapping[str, int] = field(default_factory=dict)
    """`all` and `trainable`."""
    moved_nats: float | None = None
    """How far the policy is from its parent, in nats."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """All other facts, by name."""

    def to_json(self) -> dict[str, Any]:
        named = {
            "identifiers": self.identifiers,
            "num_parameters": self.num_parameters or None,
            "moved_nats": self.moved_nats,
        }
        return {**self.more, **{name: value for name, value in named.items() if value is not None}}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """ValueError or TypeError for what no manifest can hold."""
        more = dict(record)
        found = cls(
            identifiers=more.pop("identifiers", None),
            num_parameters=dict(more.pop("num_parameters", {})),
            moved_nats=more.pop("moved_nats", None),
            more=more,
        )
        stages = dict(more.get("selection", {}))
        selected = [stage["seconds"] for stage in stages.values()]
        check_numbers([*found.num_parameters.values(), found.moved_nats or 0, *selected])
        if not isinstance(found.identifiers, str | None):
            raise TypeError(f"identifiers is {found.identifiers!r}, and no digest")
        canonical_json(more)
        return found

    @classmethod
    def read(cls, workdir: Path) -> Self:
        """The facts of a fit; none where the method left no file. CheckError for a file of another form."""
        path = workdir / FACTS
        if not path.exists():
            return cls()
        try:
            return cls.from_json(parse_json(read_plain(path)))
        except (ValueError, TypeError, KeyError) as error:
            raise CheckError(
                f"{path} has no facts",
                why=f"{type(error).__name__}: {error}",
                fix='write an object, e.g. {"num_parameters": {"all": 11, "trainable": 3}}',
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What all attempts of a fit took together."""

    seconds: float
    attempts: int
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds that each shared stage took when it was made, by `kind/key`."""
    stage_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The counts that belong to a stage's cost, e.g. `generated_tokens`."""
    stages_built: Sequence[str] = ()
    """The stages that were made during the fit, so that `seconds` includes theirs."""
    millijoules: int | None = None
    """Drawn by the GPUs in all attempts, stages included that were made; None where one is not known."""

    @property
    def own_seconds(self) -> float:
        """The method's own training, without the stages that were made on its way."""
        return float(max(self.seconds - sum(self.stages[name] for name in self.stages_built), 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """The record of a finished fit, `fit.json` in its folder."""

    spent: Spent
    counts: Mapping[str, int]
    """Totals of the fit: `steps`, `trained_tokens`, ..."""
    facts: Facts
    peak: PeakMemory
    device: str
    threads: int
    processes: int = 1
    parents: Sequence[str] = ()
    """The fits that this one descends from, the nearest first."""

    def to_json(self) -> dict[str, Any]:
        """Flat: what was spent is beside the rest."""
        rest = {name: getattr(self, name) for name in ("counts", "device", "threads", "processes", "parents")}
        return {**asdict(self.spent), **rest, "facts": self.facts.to_json(), "peak": asdict(self.peak)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; early records have no `stage_counts` and no `processes`."""
        return cls(
            spent=Spent(
                seconds=record["seconds"],
                attempts=record["attempts"],
                stages=record["stages"],
                stage_counts=record.get("stage_counts", {}),
                stages_built=record["stages_built"],
                millijoules=record.get("millijoules"),
            ),
            counts=record["counts"],
            facts=Facts.from_json(record["facts"]),
            peak=PeakMemory(**record["peak"]),
            device=record["device"],
            threads=record["threads"],
            processes=record.get("processes", 1),
            parents=record["parents"],
        )

    def write(self, workdir: Path) -> None:
        _write(workdir / FIT, self.to_json())

    @classmethod
    def read(cls, workdir: Path) -> Self:
        """CheckError for what is no record: the process that wrote it ran the method's code."""
        path = workdir / FIT
        try:
            record = cls.from_json(_read(path))
            check_numbers(record._numbers())
            names = [*record.parents, *record.spent.stages, *record.spent.stages_built, record.device]
            if not all(isinstance(name, str) for name in names) or not all(map(is_short, record.parents)):
                raise ValueError("no proper name for a parent, a stage or the device")
            if not set(record.spent.stages_built) <= record.spent.stages.keys():
                raise ValueError("it made stages that it did not use")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckError(
                f"{path} is not the record of a fit",
                why=f"{type(error).__name__}: {error}",
                fix=f"rm -r {workdir}   (the next run makes the fit again)",
            ) from error
        return record

    def _numbers(self) -> Iterator[Any]:
        spent, peak = self.spent, self.peak
        yield from (spent.seconds, spent.attempts, spent.millijoules or 0, self.threads, self.processes)
        yield from (peak.host_bytes, peak.gpu_bytes or 0)
        for numbers in (spent.stages, self.counts, *spent.stage_counts.values()):
            yield from numbers.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRecord:
    """The record of a ranking, `rank.json` beside its `topk.npz`."""

    seconds: float
    stats: Mapping[str, float]
    """Finite numbers that the ranker reports: `nodes_per_user`, `generated_tokens`, ..."""
    peak: PeakMemory
    processes: int = 1
    load_seconds: float = 0.0
    """Those of `seconds` in which the fit was restored."""
    millijoules: int | None = None
    """Drawn by the GPUs; None where it is not known."""

    def write(self, folder: Path) -> None:
        _write(folder / RANK, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        record = _read(folder / RANK)
        return cls(**record | {"peak": PeakMemory(**record["peak"])})


def check_numbers(values: Iterable[Any]) -> None:
    """ValueError for what is no finite number: it would be written down, or added up."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"it has {value!r} in the place of a number")


def _write(path: Path, record: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(record, indent=1, sort_keys=True))


def _read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = parse_json(read_plain(path))
    return record
