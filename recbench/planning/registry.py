"""Methods by name, from the entry-point group `recbench.methods`. Listing loads no plugin."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from recbench.base import params
from recbench.errors import MissingError, UsageError, unknown_name
from recbench.method import Method, Traits, traits_of
from recbench.planning import plugin_check

GROUP = "recbench.methods"


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

    def build(self, values: Mapping[str, Any]) -> Method:
        """UsageError for an unknown parameter, a bad value, and a required parameter without a value."""
        for field in fields(self.cls):
            required = field.init and field.default is MISSING and field.default_factory is MISSING
            word = params.as_typed(field.name)
            if required and word not in values:
                raise UsageError(
                    f"'{self.name}' needs a value for {word}", fix=f"-m {self.name}:{word}=VALUE"
                )
        method: Method = params.build(self.cls, values, what=self.name)
        return method


def available() -> Mapping[str, EntryPoint]:
    """The entry points by name. Two distributions that claim one name are an error that names both."""
    return _available(tuple(sys.path))


@lru_cache(maxsize=8)
def _available(_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """Read once for a search path: a study asks for each of its runs, and every installed package is read."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        other = found.get(point.name)
        if other is not None and (other.value, owner(other)) != (point.value, owner(point)):
            raise UsageError(
                f"two installed packages provide a method '{point.name}'",
                why=f"{owner(other)} ({other.value}) and {owner(point)} ({point.value})",
                fix=f"pip uninstall {owner(point)}",
            )
        found[point.name] = point
    return found


def owner(point: EntryPoint) -> str:
    """The name of the distribution that an entry point belongs to."""
    return point.dist.name if point.dist else "unknown package"


def point_of(name: str) -> EntryPoint:
    """UsageError names the nearest name there is."""
    points = available()
    if name not in points:
        raise unknown_name("method", name, points, fix="recbench list methods")
    return points[name]


def load(name: str) -> Plugin:
    """The plugin called `name`. UsageError names the nearest name there is, UnusableMethodError says why the
    class cannot be imported or is no method."""
    cls, owner = _load(name, tuple(sys.path))
    return Plugin(name, cls, traits_of(cls), owner)


def of_distribution(distribution: str) -> list[Plugin]:
    """The methods that a distribution brings, by name."""
    return [load(name) for name, point in available().items() if _owner(point) == distribution]


@lru_cache(maxsize=128)
def _load(name: str, _path: tuple[str, ...]) -> tuple[type[Any], str]:
    """The class and its distribution, loaded and checked once."""
    point = point_of(name)
    try:
        cls = point.load()
    except Exception as error:  # a broken plugin must name itself, whatever it raises
        raise UnusableMethodError(
            f"method '{name}' of {owner(point)} cannot be loaded", why=f"{type(error).__name__}: {error}"
        ) from error
    why, fix = plugin_check.problem(cls)
    if why:
        raise UnusableMethodError(
            f"method '{name}' of {owner(point)} cannot be used", why=why, fix=f"{fix}, in {point.value}"
        )
    return cls, owner(point)


def check_requirements(plugin: Plugin) -> None:
    """UnusableMethodError, with the pip line, where a module that the method requires is not installed.

    Looks for the modules and imports none. Apart from `load`, so that boards of finished runs are built
    without the packages that trained them.
    """
    absent = [module for module in plugin.traits.requires if find_spec(module) is None]
    if absent:
        extra = plugin.traits.extra
        wanted = f'"{plugin.distribution}[{extra}]"' if extra else " ".join(absent)
        raise UnusableMethodError(
            f"method '{plugin.name}' of {plugin.distribution} cannot be used",
            why=f"not installed: {', '.join(absent)}",
            fix=f"pip install {wanted}",
        )
