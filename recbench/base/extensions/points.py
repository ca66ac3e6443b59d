"""What packages bring to recbench, by kind and name, from their entry points. Listing imports no package.

Whatever a package does wrong is its own fault: an error names what it brings, the package, and the fix.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, Literal

from recbench.base.environment import DISTRIBUTION, FORMER, own_version
from recbench.errors import MissingError, RecbenchError, UsageError, unknown_name

Kind = Literal["method", "sampler", "ranker", "identifier", "metric", "format"]
GROUPS: Mapping[Kind, str] = {
    "method": "recbench.methods",
    "sampler": "recbench.samplers",
    "ranker": "recbench.rankers",
    "identifier": "recbench.identifiers",
    "metric": "recbench.metrics",
    "format": "recbench.formats",
}
"""The group of entry points of each kind."""
NOUNS: Mapping[Kind, str] = {
    "method": "method",
    "sampler": "sampler of negatives",
    "ranker": "ranker",
    "identifier": "identifier scheme",
    "metric": "metric",
    "format": "raw format",
}
"""What a message calls them."""
OWN = ("recbench", "recbench_methods")
"""The packages of what is recbench's own."""


class UnusablePluginError(MissingError):
    """Something that an installed package brings, and that cannot be used as it is.

    `place` is its `module:Class`, where its code was at work.
    """

    def __init__(self, what: str, *, why: str = "", fix: str = "", place: str = "") -> None:
        super().__init__(what, why=why, fix=fix)
        self.place = place


def available(kind: Kind) -> Mapping[str, EntryPoint]:
    """The entry points by name. A name that two packages claim is here too; who uses it is told."""
    return {name: points[-1] for name, points in _available(kind, tuple(sys.path)).items()}


def outside(kind: Kind) -> Mapping[str, EntryPoint]:
    """Those of other packages than recbench, but for names that are recbench's own."""
    return {
        name: points[-1]
        for name, points in _available(kind, tuple(sys.path)).items()
        if not any(map(is_own, points))
    }


def ignored(kind: Kind) -> list[EntryPoint]:
    """Those of other packages with a name of recbench's own, which is the one that is used.

    Two methods of one name are an error instead.
    """
    found = _available(kind, tuple(sys.path)).values() if kind != "method" else ()
    return [one for points in found if any(map(is_own, points)) for one in points if not is_own(one)]


@lru_cache(maxsize=48)
def _available(kind: Kind, _path: tuple[str, ...]) -> Mapping[str, list[EntryPoint]]:
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for point in _read(_path)[kind]:
        found.setdefault(point.name, {})[owner(point), point.value] = point
    return {name: list(found[name].values()) for name in sorted(found)}


@lru_cache(maxsize=8)
def _read(_path: tuple[str, ...]) -> Mapping[Kind, list[EntryPoint]]:
    """Read once for a search path: a study asks for each of its runs, and every installed package is read.

    Of several copies of a package with such points the first on the path counts. Names of the other packages
    are not asked for: parsing them is most of what reading costs.
    """
    found: dict[Kind, list[EntryPoint]] = {kind: [] for kind in GROUPS}
    kinds = {group: kind for kind, group in GROUPS.items()}
    seen = set()
    for package in distributions():
        try:
            points = [point for point in package.entry_points if point.group in kinds]
            name = package.name if points else ""
        except Exception:  # a package whose metadata cannot be read harms no other
            continue
        for point in points if name not in seen else ():
            found[kinds[point.group]].append(point)
        seen.add(name)
    return found


def owner(point: EntryPoint) -> str:
    """The name of the distribution that an entry point belongs to; of recbench's own, the present one."""
    if point.dist is None:
        return "unknown package"
    name = _name_of(point.dist)
    former = name == FORMER and point.value.partition(".")[0] in OWN
    return DISTRIBUTION if former else name


@lru_cache(maxsize=256)
def _name_of(package: Distribution) -> str:
    """Its metadata are parsed once."""
    return package.name


def is_own(point: EntryPoint) -> bool:
    """Whether it is recbench's, whose code any process may import."""
    return owner(point) == DISTRIBUTION and point.value.partition(".")[0] in OWN


def point_of(kind: Kind, name: str) -> EntryPoint:
    """UsageError for a name that no package provides, with the nearest one, and for one that two provide; but
    for methods, a name of recbench is recbench's."""
    points = _available(kind, tuple(sys.path))
    if name not in points:
        raise unknown_name(NOUNS[kind], name, points, fix=f"recbench list {kind}s")
    own = [point for point in points[name] if is_own(point)]
    if own and kind != "method":
        return own[0]
    point, *others = points[name]
    for other in others:
        raise UsageError(
            f"two installed packages provide a {NOUNS[kind]} '{name}'",
            why=f"{owner(point)} ({point.value}) and {owner(other)} ({other.value})",
            fix=f"pip uninstall {owner(other)}",
        )
    return point


def load(kind: Kind, name: str) -> Any:
    """The object that the entry point names, which imports its module.

    UnusablePluginError says why that is not possible.
    """
    point = point_of(kind, name)
    _refuse_other_recbench(kind, name, point)
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a broken plugin must name itself, whatever it raises
        raise UnusablePluginError(
            f"{NOUNS[kind]} '{name}' of {owner(point)} cannot be loaded",
            why=said(error),
            fix=f"fix {point.value}, or pip uninstall {owner(point)}; other {kind}s need neither",
        ) from error


@contextmanager
def faults(what: str, when: str, place: str) -> Iterator[None]:
    """What a package's code raises becomes an error that names it. Errors of recbench and of files stay, and
    those of a full memory."""
    try:
        yield
    except (RecbenchError, OSError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if "OutOfMemory" in type(error).__name__:  # torch's own, of a GPU
            raise
        raise UnusablePluginError(
            f"{what} fails {when}",
            why=said(error),
            fix=f"fix {place}; a value that it refuses is a ValueError with the reason",
            place=place,
        ) from error


def _refuse_other_recbench(kind: Kind, name: str, point: EntryPoint) -> None:
    """UnusablePluginError where a package declares a version of recbench that is not here."""
    if owner(point) == DISTRIBUTION:
        return
    from packaging.requirements import InvalidRequirement, Requirement

    here = own_version()
    for line in (point.dist.requires if point.dist else None) or []:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:  # an installer has said so
            continue
        if wanted.name == DISTRIBUTION and not wanted.specifier.contains(here, prereleases=True):
            raise UnusablePluginError(
                f"{NOUNS[kind]} '{name}' of {owner(point)} is made for {DISTRIBUTION}{wanted.specifier}",
                why=f"this is {DISTRIBUTION} {here}",
                fix=f"pip install '{DISTRIBUTION}{wanted.specifier}', or another release of {owner(point)}",
            )


def said(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
