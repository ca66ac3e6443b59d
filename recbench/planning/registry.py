"""Methods by name, from the entry-point group `recbench.methods`. Listing loads no plugin."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from recbench.base import params
from recbench.errors import MissingError, UsageError, unknown_name
from recbench.method import Method, Traits, traits_of

GROUP = "recbench.methods"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A method's name, its class, and what the harness must know of it."""

    name: str
    cls: type[Any]
    traits: Traits
    distribution: str

    def build(self, values: Mapping[str, Any]) -> Method:
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
        if other is not None and other.value != point.value:
            raise UsageError(
                f"two installed packages provide a method '{point.name}'",
                why=f"{_owner(other)} ({other.value}) and {_owner(point)} ({point.value})",
                fix=f"pip uninstall {_owner(point)}",
            )
        found[point.name] = point
    return found


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown package"


def load(name: str) -> Plugin:
    """The plugin called `name`. UsageError names the nearest one, MissingError one that fails to import."""
    cls, owner = _load(name, tuple(sys.path))
    return Plugin(name, cls, traits_of(cls), owner)


@lru_cache(maxsize=128)
def _load(name: str, _path: tuple[str, ...]) -> tuple[type[Any], str]:
    """The class and the distribution that it is from, looked for once."""
    points = available()
    if name not in points:
        raise unknown_name("method", name, points, fix="recbench list methods")
    point = points[name]
    try:
        cls = point.load()
    except Exception as error:  # a broken plugin must name itself, whatever it raises
        raise MissingError(
            f"method '{name}' of {_owner(point)} cannot be loaded", why=f"{type(error).__name__}: {error}"
        ) from error
    return cls, _owner(point)
