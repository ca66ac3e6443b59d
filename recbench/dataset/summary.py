"""Statistics and histograms of a filtered log and of its split. N interactions, U users, I items."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints
from recbench.dataset.holdout import PHASES, HeldOut
from recbench.dataset.sources.log import Log
from recbench.dataset.split import Bins, Spread, Statistics
from recbench.protocol import Phase

EDGES = (1, 2, 3, 4, 5, 6, 8, 11, 16, 21, 51, 101, 201, 501, 1001)
"""First values of the bins of a count; the last bin is open."""


def statistics(log: Log, split: HeldOut) -> Statistics:
    """Counts of the filtered log, of the split, and of what each rule removed."""
    num_users, num_items = len(log.user_ids), len(log.item_ids)
    words = _title_words(log)
    seconds = log.moments // log.ticks
    return Statistics(
        users=num_users,
        items=num_items,
        interactions=log.num_interactions,
        density=log.num_interactions / (num_users * num_items),
        sequence_length=_spread(log.sequences.lengths),
        item_frequency=_spread(_item_frequency(log)),
        items_with_title=len(words),
        distinct_titles=len({text.title for text in log.texts if text.title}),
        title_words=_spread(words) if len(words) else None,
        items_with_categories=sum(bool(text.categories) for text in log.texts),
        time_range=(_day(seconds.min()), _day(seconds.max())) if log.timestamped else None,
        split=split.rule,
        split_users=len(split.users),
        training_users=len(split.training),
        training_interactions=len(split.training.values),
        training_targets=int((split.training.lengths - 1).sum()),
        sampled_targets=None if split.sample is None else len(split.sample),
        cuts=None if split.cuts is None else dict(zip(PHASES, split.cuts, strict=True)),
        ticks=log.ticks if log.ticks > 1 else None,
        requests={phase: len(split.requests[phase].target) for phase in PHASES},
        cold_targets={phase: _cold(split, phase) for phase in PHASES},
        tied_targets={phase: split.requests[phase].tied for phase in PHASES},
        listed_steps={phase: len(log.listed[phase].user) for phase in PHASES} if log.listed else None,
        rules=dict(log.counts),
    )


def distributions(log: Log) -> dict[str, Bins]:
    """Histograms of the filtered log, by what is counted."""
    histograms: dict[str, Bins] = {
        "interactions of a user": counted(log.sequences.lengths),
        "interactions of an item": counted(_item_frequency(log)),
    }
    words = _title_words(log)
    if len(words):
        histograms["words of a title"] = counted(words)
    if log.timestamped:
        years = Counter(datetime.fromtimestamp(int(moment), UTC).year for moment in log.moments // log.ticks)
        histograms["interactions of a year"] = [
            (str(year), years[year]) for year in range(min(years), max(years) + 1)
        ]
    return histograms


def counted(values: Ints) -> Bins:
    """The number of values in each bin, from the first bin in use to the last. Values are at least 1."""
    counts = np.bincount(np.searchsorted(EDGES, values, side="right") - 1, minlength=len(EDGES))
    used = np.flatnonzero(counts)
    return [(_label(bin_), int(counts[bin_])) for bin_ in range(used[0], used[-1] + 1)]


def _label(bin_: int) -> str:
    first = EDGES[bin_]
    if bin_ + 1 == len(EDGES):
        return f"{first}+"
    last = EDGES[bin_ + 1] - 1
    return str(first) if first == last else f"{first}-{last}"


def _item_frequency(log: Log) -> Ints:
    """[I] interactions of each item."""
    return np.bincount(log.sequences.values, minlength=len(log.item_ids))


def _title_words(log: Log) -> Ints:
    """Words, separated by blanks, of every title that is not empty."""
    return np.array([len(text.title.split()) for text in log.texts if text.title], dtype=np.int64)


def _spread(values: NDArray[Any]) -> Spread:
    return Spread(
        min=int(values.min()),
        median=float(np.median(values)),
        mean=float(values.mean()),
        max=int(values.max()),
    )


def _day(moment: int) -> str:
    return datetime.fromtimestamp(int(moment), UTC).date().isoformat()


def _cold(split: HeldOut, phase: Phase) -> int:
    """Targets that occur in no training sequence."""
    targets = split.requests[phase].target
    return int((~np.isin(targets, split.training.values)).sum())
