"""Raw formats, one a file: each turns its files into a `RawLog`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from recbench.card import Format, Source
from recbench.method import Reporter
from recbench.sources import amazon18, atomic, normalised
from recbench.sources.raw import ItemText, RawLog

__all__ = ["READERS", "ItemText", "RawLog", "Reader"]


class Reader(Protocol):
    def __call__(self, source: Source, interactions: Path, items: Path, *, report: Reporter) -> RawLog: ...


READERS: Mapping[Format, Reader] = {
    "atomic": atomic.read,
    "normalised": normalised.read,
    "amazon18": amazon18.read,
}
