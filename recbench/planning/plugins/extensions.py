"""What the harness knows of a sampler, ranker, ... of another package, without importing it.

`extension_host` answers in a process of the package's own. What decides a run's numbers is in its identity:
kind, name, version, distribution and the digest of the code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from recbench.base.extensions import code, points
from recbench.base.extensions.extension import head
from recbench.base.extensions.points import Kind
from recbench.base.fields import FieldDoc
from recbench.planning.plugins.asking import ask
from recbench.results.spec import FitSpec, RunSpec

IN_SPEC = "extensions"
"""The key of a fit's `llm` that has the identities of those it uses, by the parameter that names each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionDescription:
    """What a class says of itself."""

    kind: Kind
    name: str
    distribution: str
    place: str
    """`module:Class`."""
    about: str
    """The docstring of the class, else of its module."""
    version: int
    details: tuple[FieldDoc, ...]
    """The parameters."""
    facts: Mapping[str, Any]
    """What else there is to say, by name."""

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a run's numbers beside the parameters."""
        point = points.point_of(self.kind, self.name)
        return {
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "distribution": self.distribution,
            "code": code.digest_of(point),
        }


def describe(kind: Kind, name: str, root: Path | None = None) -> ExtensionDescription:
    """UsageError names the nearest name there is, UnusablePluginError says why the class cannot be used."""
    return _describe(kind, name, root, tuple(sys.path))


@lru_cache(maxsize=128)
def _describe(kind: Kind, name: str, root: Path | None, _path: tuple[str, ...]) -> ExtensionDescription:
    record = _ask(kind, name, "describe", root)
    details = tuple(FieldDoc(**one) for one in record["details"])
    return ExtensionDescription(**{**record, "kind": kind, "details": details})


def identity_of(point: EntryPoint, root: Path | None = None) -> dict[str, Any]:
    """What decides a run's numbers of the class that an entry point names, beside its parameters."""
    return describe(kind_of(point), point.name, root).identity


def built(kind: Kind, name: str, values: Mapping[str, Any], root: Path | None = None) -> dict[str, Any]:
    """All parameters, typed, defaults included. UsageError for those that do not fit."""
    found: dict[str, Any] = _ask(kind, name, "build", root, values=dict(values))
    return found


def named(declared: Mapping[str, Kind], values: Mapping[str, Any]) -> dict[str, EntryPoint]:
    """By parameter, the entry points of other packages that the `values` of a method name."""
    found = {}
    for parameter, kind in declared.items():
        name = head(values.get(parameter, ""))
        if name in points.outside(kind):
            found[parameter] = points.point_of(kind, name)
    return found


def kind_of(point: EntryPoint) -> Kind:
    return next(kind for kind, group in points.GROUPS.items() if group == point.group)


def in_spec(fit: FitSpec) -> Mapping[str, Mapping[str, Any]]:
    """The identities of those that a fit uses, by the parameter that names each."""
    found: Mapping[str, Mapping[str, Any]] = (fit.llm or {}).get(IN_SPEC, {})
    return found


def points_of(spec: RunSpec) -> Iterator[EntryPoint]:
    """The entry points of other packages whose code a fit or a ranking runs beside the method's."""
    for one in in_spec(spec.fit).values():
        yield points.point_of(one["kind"], one["name"])
    ranker = (spec.ranker or {}).get("engine", spec.ranker or {})
    if "distribution" in ranker:
        yield points.point_of("ranker", ranker["name"])


def _ask(kind: Kind, name: str, question: str, root: Path | None, **more: Any) -> Any:
    point = points.point_of(kind, name)
    return ask(
        {"ask": question, "kind": kind, "name": name, **more},
        [point],
        who=f"{points.NOUNS[kind]} '{name}' of {points.owner(point)}",
        root=root,
        keep=True,
    )
