from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from recbench.extend import DescribedItem, Interaction, RawFormat


@dataclass(frozen=True, kw_only=True)
class Sequences(RawFormat):
    """A user a line, `user item item ...`, oldest first; items as `item<TAB>title<TAB>categories`."""

    version: ClassVar[int] = 1

    separator: str = " "
    """Between the words of a line."""

    def interactions(self, files: Mapping[str, Path]) -> Iterator[Interaction]:
        with files["interactions"].open(encoding="utf-8") as lines:
            for line in lines:
                user, *items = line.rstrip("\n").split(self.separator)
                yield from (Interaction(user, item) for item in items)

    def items(self, files: Mapping[str, Path]) -> Iterator[DescribedItem]:
        with files["items"].open(encoding="utf-8") as lines:
            for line in lines:
                yield DescribedItem(*line.rstrip("\n").split("\t"))
