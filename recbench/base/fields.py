"""What a dataclass says of its fields: type, allowed values, default, and the sentence below each of them.

Python keeps no docstring of a field, so the sentences are read from the source of the class.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import GroupedMetadata

from recbench.base.params import BOUNDS, as_typed, default_of, hints_of

TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text"}
EQUATION = re.compile(
    r"\b(?:Eqs?\.|Section|section|Figure|Table|Algorithm)\s*\d+(?:\.\d+)*(?:\s*[-–]\s*\d+)?"
)
"""A place in a paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDoc:
    """A parameter as its class describes it."""

    name: str
    """As users write it."""
    type: str
    """`number`, `whole number`, `text`, `one of`, `list of numbers`, ..."""
    allowed: str
    """Values or bounds: `exact, beam`, `above 0, at most 1`; empty where anything of the type is."""
    default: Any
    """A JSON value; None also where a value is required."""
    required: bool
    meaning: str
    place: str
    """Where the meaning says that a paper has it: `Eq. 4-5`; empty where it names no place."""


def documented(cls: type[Any]) -> list[FieldDoc]:
    """The fields of a dataclass that are parameters, in their order. Empty meanings without its source."""
    hints = hints_of(cls)
    sentences = sentences_of(cls)
    found = []
    for field in dataclasses.fields(cls):
        if field.init:
            kind, allowed = _type_of(hints[field.name])
            default = default_of(field)
            meaning = sentences.get(field.name, "")
            found.append(
                FieldDoc(
                    name=as_typed(field.name),
                    type=kind,
                    allowed=allowed,
                    default=None if default is dataclasses.MISSING else _json(default),
                    required=default is dataclasses.MISSING,
                    meaning=meaning,
                    place=", ".join(EQUATION.findall(meaning)),
                )
            )
    return found


def sentences_of(cls: type[Any]) -> Mapping[str, str]:
    """The string below each annotated name of the class or of one that it inherits from, in one line."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        found |= _own_sentences(one)
    return found


def sentence_at_value(cls: type[Any], name: str) -> str:
    """The string below `name` in the very class that gives it its value: what a parent says of other values
    does not count. Empty where there is none."""
    owner = next((one for one in cls.__mro__ if name in vars(one)), None)
    return "" if owner is None else _own_sentences(owner).get(name, "")


def _own_sentences(cls: type[Any]) -> Mapping[str, str]:
    path = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return _of_source(path).get(cls.__qualname__, {}) if path and path.endswith(".py") else {}


@lru_cache(maxsize=256)
def _of_source(path: str) -> Mapping[str, Mapping[str, str]]:
    """By class, by name."""
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    return {node.name: _sentences(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _sentences(node: ast.ClassDef) -> Mapping[str, str]:
    found = {}
    for statement, below in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[statement.target.id] = " ".join(inspect.cleandoc(below.value.value).split())
    return found


def _json(value: Any) -> Any:
    return [_json(part) for part in value] if isinstance(value, list | tuple) else value


def _type_of(annotation: Any) -> tuple[str, str]:
    """The type in words, and the values that are allowed."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, allowed = _type_of(inside[0])
        bounds = [words for bound in inside[1:] for words in _bounds(bound)]
        return kind, ", ".join([*([allowed] if allowed else []), *bounds])
    if origin is Literal:
        return "one of", ", ".join(map(str, inside))
    if origin in (Union, types.UnionType):
        kind, allowed = _type_of(next(part for part in inside if part is not type(None)))
        return (f"{kind}, or none", allowed) if type(None) in inside else (kind, allowed)
    if origin is tuple:
        kind, allowed = _type_of(inside[0])
        return f"several, each a {kind}", allowed
    return TYPES.get(annotation, "text"), ""


def _bounds(bound: Any) -> list[str]:
    parts = bound if isinstance(bound, GroupedMetadata) else (bound,)
    return [
        f"{words} {getattr(part, attribute):g}"
        for part in parts
        for kind, attribute, _, words in BOUNDS
        if isinstance(part, kind)
    ]
