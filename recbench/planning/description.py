"""What the harness knows of a method without importing it where results are computed.

recbench's own methods are asked in this process, those of any other package in a child that lives as long as
the command.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbench.base.extensions import points
from recbench.base.fields import FieldDoc
from recbench.method import Traits
from recbench.planning import registry
from recbench.planning.plugins import extensions
from recbench.planning.plugins.asking import ask
from recbench.results.llm_record import llm_record
from recbench.results.spec import RunSpec
from recbench.settings import LLMSettings

KEPT = ("describe", "build")
"""Questions whose answers are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a method says when its parameters are known."""

    params: Mapping[str, Any]
    """All of them, defaults included, as JSON values."""
    needs_parent: bool
    stages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A method's traits and parameters. What it computes, its class is asked for."""

    name: str
    distribution: str
    place: str
    """`module:Class`."""
    about: str
    """The docstring of the class."""
    source: str
    """The docstring of its module, which names the paper."""
    traits: Traits
    parameters: Mapping[str, Any]
    """Defaults by name; `required` where there is none."""
    details: Sequence[FieldDoc]
    """The parameters in full."""
    notes: Mapping[str, str]
    """Where the values of `presets` and `space` come from, as far as the class says."""
    required: Sequence[str]
    ranks_itself: bool
    """Whether it is an LLM method with a `rank` of its own, instead of the engine's."""
    root: Path | None = field(default=None, compare=False, repr=False)
    """Whose targets are closed to the class when it is asked; None: of the current folder."""

    def build(self, values: Mapping[str, Any]) -> Built:
        """What a method built from `values` says.

        UsageError for an unknown parameter, a bad value, and a required parameter without a value.
        """
        beside = list(self.extensions(values).values())
        return Built(**_ask(self.name, "build", self.root, beside=beside, values=dict(values)))

    def extensions(self, values: Mapping[str, Any]) -> Mapping[str, EntryPoint]:
        """By parameter, what a method built from `values` names of what other packages bring."""
        return extensions.named(self.traits.extensions, {**self.parameters, **values})

    def identity(self, llm: LLMSettings) -> dict[str, Any]:
        """What the class of an LLM method says that decides a fit beside its settings."""
        found: dict[str, Any] = _ask(self.name, "identity", self.root, llm=llm_record(llm))
        return found

    def fetch(self, llm: LLMSettings) -> None:
        """Download the files that `identity` reads."""
        _ask(self.name, "fetch", self.root, llm=llm_record(llm))


def describe(name: str, root: Path | None = None) -> Description:
    """UsageError names the nearest name there is, UnusablePluginError says why the class cannot be used."""
    return _describe(name, root, tuple(sys.path))


@lru_cache(maxsize=128)
def _describe(name: str, root: Path | None, _path: tuple[str, ...]) -> Description:
    record = _ask(name, "describe", root)
    try:
        names = {trait: tuple(record["traits"][trait]) for trait in ("requires", "rankers")}
        found = {
            "traits": Traits(**{**record["traits"], **names}),
            "details": [FieldDoc(**one) for one in record["details"]],
        }
        return Description(**{**record, **found}, root=root)
    except (KeyError, TypeError, AttributeError) as error:  # its code answered for the process that reads it
        owner = registry.owner(registry.point_of(name))
        raise points.UnusablePluginError(
            f"method '{name}' of {owner} cannot be used",
            why=f"it gave no description: {type(error).__name__}: {error}",
            fix=f"pip uninstall {owner}; other methods do not need it",
        ) from None


def of_distribution(distribution: str, root: Path | None = None) -> list[Description]:
    """The usable methods that a distribution brings, by name."""
    found = []
    for name, point in registry.available().items():
        if registry.owner(point) == distribution:
            try:
                found.append(describe(name, root))
            except points.UnusablePluginError:  # whoever names it is told
                continue
    return found


def check_requirements(plugin: Description) -> None:
    """UnusablePluginError, with the pip line, where a module that the method requires is not installed.

    Looks for the modules and imports none. Apart from `load`, so that boards of finished runs are built
    without the packages that trained them.
    """
    absent = [module for module in plugin.traits.requires if find_spec(module) is None]
    if absent:
        extra = plugin.traits.extra
        wanted = f'"{plugin.distribution}[{extra}]"' if extra else " ".join(absent)
        raise points.UnusablePluginError(
            f"method '{plugin.name}' of {plugin.distribution} cannot be used",
            why=f"not installed: {', '.join(absent)}",
            fix=f"pip install {wanted}",
        )


def imported() -> list[str]:
    """The packages of third parties that this process has imported, as a notebook may have."""
    found = [point for kind in points.GROUPS for point in points.available(kind).values()]
    packages = {point.module.partition(".")[0] for point in found if not points.is_own(point)}
    return sorted(packages & sys.modules.keys())


def is_third_party(name: str) -> bool:
    """Whether a method comes with another package than recbench. UsageError where there is no such method."""
    return not points.is_own(registry.point_of(name))


def runs_third_party(spec: RunSpec) -> bool:
    """Whether a fit or a ranking runs code of another package: the method's, or what the method names."""
    return is_third_party(spec.fit.method) or any(extensions.points_of(spec))


def _ask(
    name: str, question: str, root: Path | None, *, beside: Sequence[EntryPoint] = (), **more: Any
) -> Any:
    """What a third party's class says of itself alone is asked once; the rest depends on the machine.

    `beside` are entry points of other packages whose classes the method's class will build.
    """
    point = registry.point_of(name)
    told = beside[0] if beside and points.is_own(point) else point
    return ask(
        {"ask": question, "name": name, **more},
        [point, *beside],
        who=f"{points.NOUNS[extensions.kind_of(told)]} '{told.name}' of {points.owner(told)}",
        root=root,
        keep=question in KEPT,
    )
