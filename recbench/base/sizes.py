"""Sizes and counts, as text for people."""

from __future__ import annotations


def size_text(num_bytes: float) -> str:
    """`num_bytes` in the largest unit that gives at least 1."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while num_bytes >= 1024 and power + 1 < len(units):
        num_bytes, power = num_bytes / 1024, power + 1
    return f"{num_bytes:.0f} {units[power]}" if power == 0 else f"{num_bytes:.1f} {units[power]}"


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 run`, `2,000 runs`; `many` is the plural where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
