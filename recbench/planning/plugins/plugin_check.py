"""Whether a class can be used as a method: why not, in a sentence, before anything is run."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from recbench.base.extensions.parameters import wrong_parameters
from recbench.base.extensions.points import GROUPS
from recbench.base.params import as_typed
from recbench.method import LLMPlugin, Method, Traits
from recbench.settings import RANKERS

VERBS = ("fit", "load", "rank")
LLM_VERBS = ("identity", "fetch")
WANTED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "version": ("a whole number", lambda value: type(value) is int),
    "kind": ("'scorer' or 'llm'", lambda value: value in ("scorer", "llm")),
    "stochastic": ("True or False", lambda value: isinstance(value, bool)),
    "starts_from": ("'base' or 'parent'", lambda value: value in ("base", "parent")),
    "presets": (
        "a mapping of mappings",
        lambda value: _is_mapping(value) and all(map(_is_mapping, value.values())),
    ),
    "space": ("a mapping", lambda value: _is_mapping(value)),
    "requires": ("a tuple of names", lambda value: _is_tuple_of_texts(value)),
    "rankers": (
        f"a tuple of names among {', '.join(RANKERS)}",
        lambda value: _is_tuple_of_texts(value) and set(value) <= RANKERS.keys(),
    ),
    "extensions": (
        f"a mapping of parameters to kinds among {', '.join(GROUPS)}",
        lambda value: _is_mapping(value) and set(value.values()) <= GROUPS.keys(),
    ),
    "control": ("True or False", lambda value: isinstance(value, bool)),
    "extra": ("a text", lambda value: isinstance(value, str)),
    "declines": (
        "a mapping of checks to reasons",
        lambda value: _is_mapping(value) and all(isinstance(why, str) and why for why in value.values()),
    ),
}
"""What a trait of a class may be. `uses_parent` may also be decided by an instance when it is built."""
TRAITS = frozenset(field.name for field in dataclasses.fields(Traits))


def problem(cls: object) -> tuple[str, str]:
    """What keeps `cls` from being a method, and how to change it; two empty texts where nothing does."""
    if not isinstance(cls, type):
        return f"its entry point names {cls!r}, which is no class", 'NAME = "module:Class"'
    absent = [verb for verb in VERBS if _lacks(cls, verb, Method)]
    if getattr(cls, "kind", None) == "llm":
        absent += [verb for verb in LLM_VERBS if _lacks(cls, verb, LLMPlugin)]
    if absent:
        return f"{cls.__name__} has no {' and no '.join(absent)}", f"define {', '.join(absent)} in the class"
    if not dataclasses.is_dataclass(cls):
        return f"{cls.__name__} is no dataclass", f"@dataclass(kw_only=True) above class {cls.__name__}"
    return next(
        itertools.chain(_wrong_traits(cls), wrong_parameters(cls, TRAITS), _wrong_presets(cls)), ("", "")
    )


def _lacks(cls: type[Any], verb: str, protocol: type[Any]) -> bool:
    """Also where the class inherits the protocol's empty definition."""
    inherited = getattr(cls, verb, None)
    return not callable(inherited) or _function(inherited) is _function(getattr(protocol, verb))


def _function(verb: Any) -> Any:
    return getattr(verb, "__func__", verb)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tuple_of_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(part, str) for part in value)


def _wrong_traits(cls: type[Any]) -> Iterator[tuple[str, str]]:
    fields = {field.name for field in dataclasses.fields(cls) if field.init}
    for name, (wanted, is_right) in WANTED.items():
        value = getattr(cls, name, None)
        if name in fields:
            shown = "..." if value is None else repr(value)
            yield (
                f"{cls.__name__}.{name} is a parameter, and recbench reads it as a trait of the class",
                f"{name}: ClassVar = {shown}, or another name for the parameter",
            )
        if hasattr(cls, name) and not is_right(value):
            yield f"{cls.__name__}.{name} is {value!r}, and has to be {wanted}", f"change {name}"


def _wrong_presets(cls: type[Any]) -> Iterator[tuple[str, str]]:
    known = {as_typed(field.name) for field in dataclasses.fields(cls) if field.init}
    for place, values in getattr(cls, "presets", {}).items():
        for name in values:
            if name not in known and not str(name).startswith("train."):
                yield (
                    f"{cls.__name__}.presets sets {name} for {place}, which is no parameter",
                    f"a parameter's name, or train.{name}",
                )
