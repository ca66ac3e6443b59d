"""An entry on the terminal: what it is, its facts, a paragraph for each parameter, its presets."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from recbench.base.fields import FieldDoc
from recbench.reference.entry import NamedEntry

INDENT = 4
WIDEST = 100
"""Columns of a paragraph; longer lines are hard to read."""


def text_of(entry: NamedEntry, width: int) -> str:
    """The entry in lines of at most `width` columns, where its words allow that."""
    width = min(width, WIDEST)
    parts = [
        [f"{entry.kind} {entry.name}", ""],
        _wrapped(entry.about, width) if entry.about else [],
        [f"  {link}" for link in entry.links],
        list(_facts(entry.facts, width)),
    ]
    if entry.parameters:
        alone = entry.kind == "setting"  # its meaning is said above
        parts.append(["value" if alone else "parameters"])
        shown = [replace(one, meaning="") for one in entry.parameters] if alone else entry.parameters
        parts += [list(_parameter(one, entry.tried.get(one.name), width)) for one in shown]
    others = {key: values for key, values in entry.tried.items() if key not in _names(entry.parameters)}
    origin = entry.origins.get("space")
    more = [*([origin] if origin else []), *(f"{key}: {value_text(part)}" for key, part in others.items())]
    if entry.tried and more:  # what is tried of its own parameters stands beside each
        parts.append(_section("tried by recbench tune", more, width))
    if entry.presets:
        lines = [f"{one.name}: {pairs_text(one.values)}" for one in entry.presets]
        origin = entry.origins.get("presets")
        parts.append(_section("presets", [*([origin] if origin else []), *lines], width))
    if entry.use:
        parts.append([f"use: {entry.use}"])
    return "\n\n".join("\n".join(part).rstrip() for part in parts if part).replace("\n\n\n", "\n\n")


def value_text(value: object) -> str:
    """Numbers in their shortest form, lists with commas, a mapping as `key: value; ...`."""
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {value_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    return str(value)


def pairs_text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value_text(value)}" for key, value in values.items())


def _names(parameters: Sequence[FieldDoc]) -> set[str]:
    return {one.name for one in parameters}


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Paragraphs anew in lines of `width`, with empty lines between them."""
    filled = textwrap.TextWrapper(
        width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += ["", *filled.wrap(" ".join(paragraph.split()))]
    return lines[1:]


def _facts(facts: Mapping[str, Any], width: int) -> Iterator[str]:
    """A line for each fact that is not empty; a mapping has a line for each of its keys."""
    shown = {
        key.replace("_", " "): value for key, value in facts.items() if value not in (None, "", (), [], {})
    }
    plain = [key for key, value in shown.items() if not isinstance(value, Mapping)]
    column = max((len(key) for key in plain), default=0) + 2
    for key, value in shown.items():
        if isinstance(value, Mapping):
            yield key
            for name, part in value.items():
                yield from _hanging(f"  {name}: ", value_text(part), width)
        else:
            yield from _hanging(f"{key:{column}}", value_text(value), width)


def _parameter(one: FieldDoc, tried: object, width: int) -> Iterator[str]:
    """`beta  number, at least 0; default 0.1; tried 0.05, 0.1` and the meaning below."""
    kind = (
        f"{one.type} {one.allowed}"
        if one.type == "one of"
        else ", ".join(filter(None, (one.type, one.allowed)))
    )
    words = [kind, "required" if one.required else f"default {value_text(one.default) or '(empty)'}"]
    words += [f"tried {value_text(tried)}"] if tried else []
    yield from _hanging(f"  {one.name}  ", "; ".join(words), width)
    yield from _wrapped(one.meaning, width, " " * (INDENT + 2))


def _section(title: str, lines: Sequence[str], width: int) -> list[str]:
    return [title, *(part for line in lines for part in _hanging("  ", line, width, deeper=2))]


def _hanging(head: str, text: str, width: int, deeper: int = 0) -> list[str]:
    indent = " " * min(len(head) + deeper, 24)
    return textwrap.wrap(
        head + text, width, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False
    ) or [head]
