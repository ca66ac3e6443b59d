"""Methods by name, from the entry-point group `recbench.methods`. Listing loads no plugin.

Whatever a plugin does wrong is its own fault: an error names the method, its package, and what fixes it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.metadata import EntryPoint
from typing import Any

from recbench.base import digest, params
from recbench.base.extensions import points
from recbench.base.extensions.extension import Extension, checked
from recbench.errors import UsageError
from recbench.method import Method, Traits, traits_of
from recbench.planning.plugins import plugin_check
from recbench.settings import LLMSettings

KIND: points.Kind = "method"


@dataclass(frozen=True, slots=True)
class Plugin(Extension):
    """A method's name, its class, and its traits."""

    traits: Traits

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
        UnusablePluginError where the class itself fails."""
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

    def identity(self, llm: LLMSettings) -> dict[str, Any]:
        """What an LLM method's class says of itself, for the identity of a fit."""
        with self.faults("when asked for its identity"):
            found = dict(self.cls.identity(llm))
            digest.canonical_json(found)
        return found

    def fetch(self, llm: LLMSettings) -> None:
        with self.faults("when asked to fetch what it needs"):
            self.cls.fetch(llm)


def available() -> Mapping[str, EntryPoint]:
    """The entry points by name. A name that two packages claim is here too; who uses it is told."""
    return points.available(KIND)


def owner(point: EntryPoint) -> str:
    """The name of the distribution that an entry point belongs to."""
    return points.owner(point)


def point_of(name: str) -> EntryPoint:
    """UsageError for a name that no package provides, with the nearest one, and for one that two provide."""
    return points.point_of(KIND, name)


def load(name: str) -> Plugin:
    """The plugin called `name`. UsageError names the nearest name there is, UnusablePluginError says why the
    class cannot be imported or is no method."""
    return _load(name, tuple(sys.path))


@lru_cache(maxsize=128)
def _load(name: str, _path: tuple[str, ...]) -> Plugin:
    """Loaded and checked once."""
    cls = checked(KIND, name, _problem)
    return Plugin(KIND, name, cls, owner(point_of(name)), traits_of(cls))


def _problem(cls: type[Any]) -> tuple[str, str]:
    why, fix = plugin_check.problem(cls)
    if not why:
        traits_of(cls)  # what it raises is a reason too
    return why, fix
