"""What a package brings to recbench beside methods: a protocol of a few lines for each kind.

A class that keeps one is a dataclass of its parameters with a `version`, named by an entry point:

    group of entry points    protocol                  given as
    recbench.samplers        Sampler                   -m sdpo:negatives=NAME:key=value
    recbench.identifiers     IdentifierScheme          --set identifiers.source=NAME:key=value
    recbench.rankers         ItemRanker                --ranker NAME:key=value
    recbench.metrics         RankMetric, ListMetric    recbench score RUN --metric NAME:key=value
    recbench.formats         RawFormat                 format = "NAME:key=value" in a card's [[sources]]

R requests, K places of a list, I items, E examples, L levels of codes, or labels of an item at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from recbench.base.lazy import exporter
from recbench.data import Floats, Ints, TrainingData

if TYPE_CHECKING:
    from recbench.llm import Draw, ItemRanker, RankingTask, Sampler

__all__ = [
    "DescribedItem",
    "Draw",
    "IdentifierScheme",
    "Interaction",
    "ItemRanker",
    "ListMetric",
    "RankMetric",
    "RankingTask",
    "RawFormat",
    "RecommendedLists",
    "Sampler",
]

__getattr__ = exporter(
    "recbench",
    {
        "Draw": "llm.signals.samplers",
        "Sampler": "llm.signals.samplers",
        "ItemRanker": "llm.decoding.outside",
        "RankingTask": "llm.decoding.outside",
    },
)


class IdentifierScheme(Protocol):
    """Codes of all items, from coarse to fine: the identifiers of a block in the paradigm `semantic-id`."""

    version: ClassVar[int] = 1
    """Raised whenever a code can change."""

    def codes(self, data: TrainingData, *, levels: int, codes: int, seed: int) -> Ints:
        """[I, L] whole numbers from 0 on, L at most 16.

        `levels` and `codes`, of each level, are what `identifiers.levels` and `identifiers.codes` ask for.
        The same data give the same codes: what is drawn is drawn by `seed`, which no seed of a run changes.
        Items with equal codes are told apart afterwards, as `identifiers.collisions` says.
        """
        ...


class RankMetric(Protocol):
    """A number for each request from the rank of its target, at every cut-off that is asked for.

    Its mean over requests is shown with a 95 % interval, as `NAME@k`.
    """

    version: ClassVar[int] = 1
    """Raised whenever a value can change."""

    def of_ranks(self, ranks: Ints, k: int) -> Floats:
        """[R] finite values from the 1-based ranks [R] of the targets; a rank is 0 below place k."""
        ...


class ListMetric(Protocol):
    """A number for each request, or one for all lists, from what is recommended. No target is known."""

    version: ClassVar[int] = 1
    """Raised whenever a value can change."""

    def of_lists(self, lists: RecommendedLists) -> Floats | float:
        """[R] finite values, of which the mean is shown with a 95 % interval, or one value of all lists."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecommendedLists:
    """The first K places of all lists of a run, and what its bundle knows of items and histories."""

    items: Ints
    """[R, K] item numbers, best first; -1 where a list has no further item."""
    item_popularity: Ints
    """[I] training interactions."""
    item_labels: Ints
    """[I, L] labels of the item's category by number; -1 where it has no further label."""
    history_length: Ints
    """[R] all earlier items of the user."""
    history_popularity: Floats
    """[R] mean training interactions of the items in the history's window."""


class Interaction(NamedTuple):
    """A row of a log. All rows of a log have a time, or none has; without, users act in the rows' order."""

    user: str
    item: str
    time: int | None = None
    """Unix time in units of 1 / `ticks` seconds, `ticks` of the card's source."""


class DescribedItem(NamedTuple):
    """An item of a log; interactions with an item that is not described are left out."""

    item: str
    title: str = ""
    categories: str = ""
    """Labels, or a path `A > B > C`."""


class RawFormat(Protocol):
    """Reads the files that a card's source names: `interactions`, `items`, by the path to each.

    recbench filters what it gives, in the same process. Nothing else can be read there of any data set.
    """

    version: ClassVar[int] = 1
    """Raised whenever a row can change."""

    def interactions(self, files: Mapping[str, Path]) -> Iterable[Interaction]:
        """All interactions, in any order where they have times."""
        ...

    def items(self, files: Mapping[str, Path]) -> Iterable[DescribedItem]:
        """All items that have a description, which may be empty."""
        ...
