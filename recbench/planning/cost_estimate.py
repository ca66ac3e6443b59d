"""What a run will take, judged by the runs that were measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from recbench.base.files import parse_json
from recbench.results import bundle
from recbench.results.spec import FitSpec, RunSpec

COST = "efficiency.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A finished run's cost, without what it shares with others."""

    spec: RunSpec
    seconds: float
    """Of its own fit and its ranking."""
    host_bytes: int
    gpu_bytes: int | None
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    seconds: float
    host_bytes: int
    """0 where it is not known."""
    like: str
    """`the same` run with another seed, one on `other data`, or what was timed of it here."""
    device: str
    gpu_bytes: int | None = None
    """Of the GPU that needs most; None where none is used."""
    timed: bool = False
    """Whether it is extrapolated from a few steps and users, and no finished run is known."""
    rank_seconds: float | None = None
    """Of what is timed, the ranking's part; None where it is not known."""


def measured(runs: Path) -> list[Measured]:
    """The costs of the complete bundles under `runs`, unverified. An unreadable one is left out."""
    found = []
    for folder in bundle.find(runs):
        if bundle.status(folder) != "complete" or not (folder / COST).is_file():
            continue
        try:
            cost = parse_json((folder / COST).read_bytes())
            if cost.get("seconds"):
                manifest = parse_json((folder / bundle.MANIFEST).read_bytes())
                found.append(_measured(RunSpec.from_json(manifest["spec"]), cost))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # damaged or of another version; `recbench list runs` names it
    return found


def _measured(spec: RunSpec, cost: Mapping[str, Any]) -> Measured:
    return Measured(
        spec=spec,
        seconds=cost["seconds"]["fit"] + cost["seconds"]["rank"],
        host_bytes=cost.get("peak_host_bytes") or 0,
        gpu_bytes=cost.get("peak_gpu_bytes"),
        device=cost.get("device", "cpu"),
    )


def estimate(spec: RunSpec, runs: Iterable[Measured]) -> Estimate | None:
    """From runs that differ in nothing but the seed, else from those that differ in the dataset as well;
    None where there is neither."""
    candidates = list(runs)
    for like, key in (("the same", kind_of), ("other data", _same_but_data)):
        alike = [run for run in candidates if key(run.spec) == key(spec)]
        if alike:
            return Estimate(
                seconds=median(run.seconds for run in alike),
                host_bytes=max(run.host_bytes for run in alike),
                gpu_bytes=max((run.gpu_bytes for run in alike if run.gpu_bytes is not None), default=None),
                like=like,
                device=alike[0].device,
            )
    return None


def kind_of(spec: RunSpec) -> str:
    """The same for runs that differ in nothing but the seed, as far as cost goes."""
    return json.dumps([_same_but_data(spec), spec.fit.dataset, spec.fit.limit_users])


def _same_but_data(spec: RunSpec) -> str:
    fit: FitSpec = spec.fit
    llm: Mapping[str, Any] = fit.llm or {}
    engine = {name: llm.get(name) for name in ("backbone", "paradigm", "train")}
    return json.dumps([fit.method, dict(fit.params), engine, spec.ranker], sort_keys=True)
