"""Records as JSON values, and many records of one kind as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

Record = Mapping[str, Any]

_PLAIN = frozenset({str, int, float, bool, type(None)})


def field_values(record: Any) -> dict[str, Any]:
    return {field.name: to_json(getattr(record, field.name)) for field in fields(record)}


def to_json(value: Any) -> Any:
    if type(value) in _PLAIN:  # nearly all of a board's values, and the checks below are slow
        return value
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return field_values(value)
    if isinstance(value, Mapping):
        return {key: to_json(inner) for key, inner in value.items()}
    return [to_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def columns(rows: Sequence[Any], row: type) -> dict[str, list[Any]]:
    return {field.name: [to_json(getattr(row, field.name)) for row in rows] for field in fields(row)}


def rows_of_columns(columns: Mapping[str, Any], row: type) -> list[dict[str, Any]]:
    names = [field.name for field in fields(row)]
    values = zip(*(columns[name] for name in names), strict=True)
    return [dict(zip(names, each, strict=True)) for each in values]
