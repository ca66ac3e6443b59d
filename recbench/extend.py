"""What a package brings to recbench beside methods: a protocol of a few lines for each kind.

A class that keeps one is a dataclass of its parameters with a `version`, named by an entry point:

    group of entry points    protocol                  given as
    recbench.samplers        Sampler                   -m sdpo:negatives=NAME:key=value
    recbench.metrics         RankMetric, ListMetric    recbench score RUN --metric NAME:key=value

R requests, K places of a list, I items, E examples, L labels of an item at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from recbench.base.lazy import exporter
from recbench.data import Floats, Ints

if TYPE_CHECKING:
    from recbench.llm import Draw, Sampler

__all__ = ["Draw", "ListMetric", "RankMetric", "RecommendedLists", "Sampler"]

__getattr__ = exporter("recbench", {"Draw": "llm.signals.samplers", "Sampler": "llm.signals.samplers"})


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
