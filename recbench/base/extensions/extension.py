"""A class that a package brings, loaded and built: a method, a sampler, a ranker, a metric, ..."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any

from recbench.base import params
from recbench.base.extensions import check, points
from recbench.base.extensions.points import Kind
from recbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Extension:
    """A loaded class with its name and package."""

    kind: Kind
    name: str
    cls: type[Any]
    distribution: str

    @property
    def noun(self) -> str:
        """`sampler of negatives 'recent'`, for messages."""
        return f"{points.NOUNS[self.kind]} '{self.name}'"

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
            if field.init and params.default_of(field) is MISSING
        ]

    def build(self, values: Mapping[str, Any]) -> Any:
        """An instance. UsageError for an unknown parameter, a bad value, and a required parameter without a
        value; UnusablePluginError where the class itself fails."""
        for word in self.required:
            if word not in values:
                raise UsageError(f"{self.noun} needs a value for {word}", fix=f"{self.name}:{word}=VALUE")
        with self.faults("with these parameters"):
            return params.build(self.cls, values, what=self.name)

    def faults(self, when: str) -> AbstractContextManager[None]:
        """What the class raises becomes an error that names it; see `points.faults`."""
        return points.faults(f"{self.noun} of {self.distribution}", when, self.place)


def load(kind: Kind, name: str) -> Extension:
    """What a package brings under this name, which imports its module.

    UsageError names the nearest name there is, UnusablePluginError says why the class cannot be used.
    """
    return _load(kind, name, tuple(sys.path))


@lru_cache(maxsize=128)
def _load(kind: Kind, name: str, _path: tuple[str, ...]) -> Extension:
    cls = checked(kind, name, lambda cls: check.problem(kind, cls))
    return Extension(kind, name, cls, points.owner(points.point_of(kind, name)))


def checked(kind: Kind, name: str, problem: Callable[[type[Any]], tuple[str, str]]) -> type[Any]:
    """The class under this name, for which `problem` gives no reason, with a fix, why it cannot be used."""
    point = points.point_of(kind, name)
    cls: type[Any] = points.load(kind, name)
    try:
        why, fix = problem(cls)
    except (Exception, SystemExit) as error:
        why, fix = f"reading its class raises {points.said(error)}", "fix the class"
    if kind != "method" and not re.fullmatch(r"[\w.-]+", name):
        why, fix = f"its name is {name!r}", "a name of letters, digits, -, _ and ."
    if why:
        raise points.UnusablePluginError(
            f"{points.NOUNS[kind]} '{name}' of {points.owner(point)} cannot be used",
            why=why,
            fix=f"{fix}, in {point.value}",
        )
    return cls


def head(text: str) -> str:
    """The name in `NAME:key=value:key=value` or `NAME[key=value,key=value]`."""
    return str(text).partition(":")[0].partition("[")[0].strip()
