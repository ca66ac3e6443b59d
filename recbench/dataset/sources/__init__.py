"""Readers of raw formats, a module for each: they turn raw files into a `RawLog`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from recbench.base.progress import Reporter
from recbench.dataset.card import Source
from recbench.dataset.sources import amazon, atomic, movielens, normalised
from recbench.dataset.sources.raw import ItemText, RawLog

__all__ = ["READERS", "ItemText", "RawLog", "Reader"]


class Reader(Protocol):
    def __call__(self, source: Source, files: Mapping[str, Path], *, report: Reporter) -> RawLog:
        """The log in `files`: `interactions`, `items`, and the optional files of the source."""
        ...


READERS: Mapping[str, Reader] = {
    "atomic": atomic.read,
    "normalised": normalised.read,
    "amazon14": amazon.read_2014,
    "amazon18": amazon.read_2018,
    "amazon23": amazon.read_2023,
    "movielens": movielens.read,
}
