"""Nested mappings as flat ones, and the keys in which they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def differing_keys(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys, sorted, whose values are not the same in all records; an absent key counts as None."""
    keys = sorted({key for record in records for key in record})
    return [key for key in keys if any(record.get(key) != records[0].get(key) for record in records)]


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
