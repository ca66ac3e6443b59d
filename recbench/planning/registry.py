"""Methods by name, from the entry-point group `recbench.methods`. Listing loads no plugin.

Whatever a plugin does wrong is its own fault: an error names the method, its package, and what fixes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions, version
from typing import Any

from recbench.base import digest, params
from recbench.errors import MissingError, RecbenchError, UsageError, unknown_name
from recbench.method import Method, Traits, traits_of
from recbench.planning import plugin_check
from recbench.settings import LLMSettings

GROUP = "recbench.methods"
DISTRIBUTION = "recbench"


class UnusableMethodError(MissingError):
    """An installed method that cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A method's name, its class, and its traits."""

    name: str
    cls: type[Any]
    traits: Traits
    distribution: str

    @property
    def parameters(self) -> list[str]:
        """Their names, as users write them."""
        return [params.as_typed(field.name) for field in fields(self.cls) if field.init]

    @property
    def ranks_itself(self) -> bool:
        """Whether it is an LLM method with a `rank` of its own, instead of the engine's."""
        engine = sys.modules.get("recbench.llm.method")  # its base class has imported it
        return self.traits.kind == "llm" and (engine is None or self.cls.rank is not engine.LLMMethod.rank)

    def build(self, values: Mapping[str, Any]) -> Method:
        """UsageError for an unknown parameter, a bad value, and a required parameter without a value;
        UnusableMethodError where the class itself fails."""
        for word in self.required:
            if word not in values:
                raise UsageError(
                    f"'{self.name}' needs a value for {word}", fix=f"-m {self.name}:{word}=VALUE"
                )
        with self.faults("with these parameters"):
            method: Method = params.build(self.cls, values, what=self.name)
            digest.canonical_json(params.resolved(method))  # they are written down
            if not isinstance(traits_of(method).needs_parent, bool):
                raise TypeError("uses_parent is neither True nor False")
        return method

    @property
    def place(self) -> str:
        """`module:Class`."""
        return f"{self.cls.__module__}:{self.cls.__qualname__}"

    @property
    def required(self) -> list[str]:
        """The parameters without a default, as users write them."""
        return [
            params.as_typed(field.name)
            for field in fields(self.cls)
            if field.init and field.default is MISSING and field.default_factory is MISSING
        ]

    def identity(self, llm: LLMSettings) -> dict[str, Any]:
        """What an LLM method's class says of itself, for the identity of a fit."""
        with self.faults("when asked for its identity"):
            found = dict(self.cls.identity(llm))
            digest.canonical_json(found)
        return found

    def fetch(self, llm: LLMSettings) -> None:
        with self.faults("when asked to fetch what it needs"):
            self.cls.fetch(llm)

    @contextmanager
    def faults(self, when: str) -> Iterator[None]:
        """What the class raises becomes an error that names it; errors of recbench, and of files, stay."""
        try:
            yield
        except (RecbenchError, OSError):
            raise
        except (Exception, SystemExit) as error:
            raise UnusableMethodError(
                f"method '{self.name}' of {self.distribution} fails {when}",
                why=_said(error),
                fix=f"fix {self.place}; a value that it refuses is a ValueError with the reason",
            ) from error


def available() -> Mapping[str, EntryPoint]:
    """The entry points by name. A name that two packages claim is here too; who uses it is told."""
    return {name: points[-1] for name, points in _available(tuple(sys.path)).items()}


@lru_cache(maxsize=8)
def _available(_path: tuple[str, ...]) -> Mapping[str, list[EntryPoint]]:
    """Read once for a search path: a study asks for each of its runs, and every installed package is read.

    Of several copies of a package with methods the first on the path counts. Names of the other packages are
    not asked for: parsing them is most of what reading costs.
    """
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    seen = set()
    for package in distributions():
        try:
            points = package.entry_points.select(group=GROUP)
            name = package.name if points else ""
        except Exception:  # a package whose metadata cannot be read harms no other
            continue
        for point in points if name not in seen else ():
            found.setdefault(point.name, {})[owner(point), point.value] = point
        seen.add(name)
    return {name: list(found[name].values()) for name in sorted(found)}


def owner(point: EntryPoint) -> str:
    """The name of the distribution that an entry point belongs to."""
    return point.dist.name if point.dist else "unknown package"


def point_of(name: str) -> EntryPoint:
    """UsageError for a name that no package provides, with the nearest one, and for one that two provide."""
    points = _available(tuple(sys.path))
    if name not in points:
        raise unknown_name("method", name, points, fix="recbench list methods")
    point, *others = points[name]
    for other in others:
        raise UsageError(
            f"two installed packages provide a method '{name}'",
            why=f"{owner(point)} ({point.value}) and {owner(other)} ({other.value})",
            fix=f"pip uninstall {owner(other)}",
        )
    return point


def load(name: str) -> Plugin:
    """The plugin called `name`. UsageError names the nearest name there is, UnusableMethodError says why the
    class cannot be imported or is no method."""
    return _load(name, tuple(sys.path))


@lru_cache(maxsize=128)
def _load(name: str, _path: tuple[str, ...]) -> Plugin:
    """Loaded and checked once."""
    point = point_of(name)
    _refuse_other_recbench(name, point)
    try:
        cls = point.load()
    except (Exception, SystemExit) as error:  # a broken plugin must name itself, whatever it raises
        raise UnusableMethodError(
            f"method '{name}' of {owner(point)} cannot be loaded",
            why=_said(error),
            fix=f"fix {point.value}, or pip uninstall {owner(point)}; other methods need neither",
        ) from error
    try:
        why, fix = plugin_check.problem(cls)
        traits = Traits() if why else traits_of(cls)
    except (Exception, SystemExit) as error:
        why, fix = f"reading its class raises {_said(error)}", "fix the class"
    if why:
        raise UnusableMethodError(
            f"method '{name}' of {owner(point)} cannot be used", why=why, fix=f"{fix}, in {point.value}"
        )
    return Plugin(name, cls, traits, owner(point))


def _refuse_other_recbench(name: str, point: EntryPoint) -> None:
    """UnusableMethodError where the package of a method declares a version of recbench that is not here."""
    if owner(point) == DISTRIBUTION:
        return
    from packaging.requirements import InvalidRequirement, Requirement

    here = version(DISTRIBUTION)
    for line in (point.dist.requires if point.dist else None) or []:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:  # an installer has said so
            continue
        if wanted.name == DISTRIBUTION and not wanted.specifier.contains(here, prereleases=True):
            raise UnusableMethodError(
                f"method '{name}' of {owner(point)} is made for {DISTRIBUTION}{wanted.specifier}",
                why=f"this is {DISTRIBUTION} {here}",
                fix=f"pip install '{DISTRIBUTION}{wanted.specifier}', or another release of {owner(point)}",
            )


def _said(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
