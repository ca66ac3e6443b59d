"""Parse words of a command line into typed values: `sdpo:beta=0.5`, `exact[depth=50]`, `train.epochs=3`."""

from __future__ import annotations

import dataclasses
import math
import operator
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt

from recbench.base.words import is_plain
from recbench.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
BOUNDS = (
    (Gt, "gt", operator.gt, "above"),
    (Ge, "ge", operator.ge, "at least"),
    (Lt, "lt", operator.lt, "below"),
    (Le, "le", operator.le, "at most"),
)
WANTED = {bool: "true or false", int: "a whole number", float: "a finite number"}


def parse_selection(text: str) -> tuple[str, dict[str, str]]:
    """Split `name:key=value,key=value` or `name[key=value,key=value]` into the name and its settings."""
    name, opener, rest = text.partition("[") if "[" in text.partition(":")[0] else text.partition(":")
    if opener == "[":
        if not rest.endswith("]"):
            raise UsageError(f"'{text}' lacks a closing bracket", fix=f"'{text}]'")
        rest = rest[:-1]
    if not name.strip():
        raise UsageError(f"'{text}' has no name before its settings", fix="name:key=value")
    return name.strip(), parse_assignments([part for part in rest.split(",") if part.strip()])


def parse_assignments(parts: Sequence[str]) -> dict[str, str]:
    """`["a=1", "b=x"]` as a mapping. UsageError for a key that is given twice."""
    pairs: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"'{part}' is not of the form key=value")
        if key in pairs:
            raise UsageError(f"'{key}' is set twice, to '{pairs[key]}' and '{value.strip()}'")
        pairs[key] = value.strip()
    return pairs


def build(cls: type[T], values: Mapping[str, Any], *, what: str) -> T:
    """An instance of dataclass `cls` from strings or values, coerced to its annotations.

    UsageError for an unknown field (with the nearest known one) and for a value that does not fit. Coercion
    makes `beta=1` and `beta=1.0` the same float.
    """
    fields = {as_typed(f.name): f.name for f in dataclasses.fields(cls) if f.init}
    hints = hints_of(cls)
    for key in values:
        if key not in fields:
            raise unknown_name(f"parameter of {what}", key, fields)
    try:
        return cls(
            **{
                fields[key]: coerce(value, hints[fields[key]], name=f"{what}: {key}")
                for key, value in values.items()
            }
        )
    except ValueError as error:  # a dataclass checks its own ranges in __post_init__
        raise UsageError(f"{what}: {error}") from None


def as_typed(name: str) -> str:
    """The name that users give a field: `as` for `as_`, because `as` is a word of Python's own."""
    return name.removesuffix("_")


def hints_of(cls: type[Any]) -> dict[str, Any]:
    """The annotations of its fields, with the ranges that they declare."""
    return _hints_of(cls)  # type: ignore[arg-type]  # mypy does not take type[Any] for hashable


@lru_cache(maxsize=256)
def _hints_of(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The value of a field that is not given; `dataclasses.MISSING` where it must be."""
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def coerce(value: Any, annotation: Any, *, name: str) -> Any:
    """`value` as the annotated type: bool, int, float, str, Literal, optional, or tuples of these.

    UsageError where it is of another type or outside the range that the annotation declares.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *bounds = get_args(annotation)
        return _within(coerce(value, inner, name=name), bounds, name=name)
    if origin is Literal:
        for allowed in get_args(annotation):
            if value == allowed or (isinstance(value, str) and value == str(allowed)):
                return allowed
        raise UsageError(f"{name} = '{value}' is not one of {', '.join(map(str, get_args(annotation)))}")
    if origin in (Union, types.UnionType):
        choices = get_args(annotation)
        if type(None) in choices and value in (None, "none", "null"):
            return None
        *others, last = (choice for choice in choices if choice is not type(None))
        for choice in others:
            with suppress(UsageError):
                return coerce(value, choice, name=name)
        return coerce(value, last, name=name)
    if origin is tuple:
        parts = (value.split("+") if value else ()) if isinstance(value, str) else value
        return tuple(coerce(part, get_args(annotation)[0], name=name) for part in parts)
    try:
        if annotation is bool:
            return _as_bool(value)
        if annotation is int:
            return _as_int(value)
        if annotation is float:
            return _as_float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name} = '{value}' is not {WANTED[annotation]}") from None
    if not is_plain(str(value)):
        raise UsageError(f"{name} = {str(value)!a} has a control character", why="it is part of a row's name")
    return str(value)


def _as_bool(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in words:
        raise ValueError(value)
    return words[str(value).lower()]


def _within(value: Any, bounds: Sequence[Any], *, name: str) -> Any:
    """`value`, if it is inside all bounds."""
    for bound in bounds:
        for part in bound if isinstance(bound, GroupedMetadata) else (bound,):
            for kind, attribute, holds, words in BOUNDS:
                if isinstance(part, kind) and not holds(value, getattr(part, attribute)):
                    raise UsageError(f"{name} = {value} is not {words} {getattr(part, attribute)}")
    return value


def _as_float(value: Any) -> float:
    _refuse_unusual_digits(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _refuse_unusual_digits(value: Any) -> None:
    """Python takes `1_000` and digits of other scripts for numbers; a user who typed them made a slip."""
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError(value)


def _as_int(value: Any) -> int:
    number = _as_float(value)
    if number != int(number) or isinstance(value, bool):
        raise ValueError(value)
    return int(number)


def as_text(value: Any) -> str:
    """The words from which `coerce` makes this value: `none`, and several values joined by `+`."""
    if isinstance(value, list | tuple):
        return "+".join(map(as_text, value))
    return "none" if value is None else str(value)


def as_word(value: Any) -> str:
    """As `as_text`, with truth values as users write them."""
    return str(value).lower() if isinstance(value, bool) else as_text(value)


def resolved(instance: Any) -> dict[str, Any]:
    """All parameters of a method or settings instance, defaults included, as JSON values."""
    fields = [f.name for f in dataclasses.fields(instance) if f.init]
    return {as_typed(name): _json_value(getattr(instance, name)) for name in fields}


def _json_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return resolved(value)
    return list(value) if isinstance(value, tuple) else value
