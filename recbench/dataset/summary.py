"""Numbers and histograms of a filtered log and of its split. N interactions, U users, I items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints
from recbench.dataset.holdout import PHASES, HeldOut
from recbench.dataset.sources.log import Log
from recbench.protocol import Phase

Bins = list[tuple[str, int]]
"""Label and count of every bin of a histogram, in order."""

EDGES = (1, 2, 3, 4, 5, 6, 8, 11, 16, 21, 51, 101, 201, 501, 1001)
"""First values of the bins of a count; the last bin is open."""


def statistics(log: Log, split: HeldOut) -> dict[str, Any]:
    """Counts of the filtered log, of the split, and of what each rule removed."""
    lengths = log.sequences.lengths
    num_users, num_items = len(log.user_ids), len(log.item_ids)
    frequency = np.bincount(log.sequences.values, minlength=num_items)
    words = np.array([len(text.title.split()) for text in log.texts if text.title])
    seconds = log.moments // log.ticks
    return {
        "users": num_users,
        "items": num_items,
        "interactions": log.num_interactions,
        "density": log.num_interactions / (num_users * num_items),
        "sequence_length": _summary(lengths),
        "item_frequency": _summary(frequency),
        "items_with_title": len(words),
        "distinct_titles": len({text.title for text in log.texts if text.title}),
        **({"title_words": _summary(words)} if len(words) else {}),
        "items_with_categories": sum(bool(text.categories) for text in log.texts),
        **({"time_range": [_day(seconds.min()), _day(seconds.max())]} if log.timestamped else {}),
        "split": split.rule,
        "split_users": len(split.users),
        "training_users": len(split.training),
        "training_interactions": len(split.training.values),
        "training_targets": int((split.training.lengths - 1).sum()),
        **({} if split.sample is None else {"sampled_targets": len(split.sample)}),
        **({} if split.cuts is None else {"cuts": dict(zip(PHASES, split.cuts, strict=True))}),
        **({"ticks": log.ticks} if log.ticks > 1 else {}),
        "requests": {phase: len(split.requests[phase].target) for phase in PHASES},
        "cold_targets": {phase: _cold(split, phase) for phase in PHASES},
        "tied_targets": {phase: split.requests[phase].tied for phase in PHASES},
        **({"listed_steps": {p: len(log.listed[p].user) for p in PHASES}} if log.listed else {}),
        "rules": dict(log.counts),
    }


def distributions(log: Log) -> dict[str, Bins]:
    """Histograms of the filtered log; a title's words are those between blanks."""
    frequency = np.bincount(log.sequences.values, minlength=len(log.item_ids))
    found = {
        "interactions of a user": counted(log.sequences.lengths),
        "interactions of an item": counted(frequency),
    }
    words = np.array([len(text.title.split()) for text in log.texts if text.title], dtype=np.int64)
    if len(words):
        found["words of a title"] = counted(words)
    if log.timestamped:
        years = Counter(datetime.fromtimestamp(int(moment), UTC).year for moment in log.moments // log.ticks)
        found["interactions of a year"] = [
            (str(year), years[year]) for year in range(min(years), max(years) + 1)
        ]
    return found


def counted(values: Ints) -> Bins:
    """How many of the values, which are at least 1, fall into each bin from the first to the last in use."""
    counts = np.bincount(np.searchsorted(EDGES, values, side="right") - 1, minlength=len(EDGES))
    used = np.flatnonzero(counts)
    return [(_label(place), int(counts[place])) for place in range(used[0], used[-1] + 1)]


def _label(place: int) -> str:
    first = EDGES[place]
    if place + 1 == len(EDGES):
        return f"{first}+"
    last = EDGES[place + 1] - 1
    return str(first) if first == last else f"{first}-{last}"


def _summary(values: NDArray[Any]) -> Mapping[str, float]:
    return {
        "min": int(values.min()),
        "median": float(np.median(values)),
        "mean": float(values.mean()),
        "max": int(values.max()),
    }


def _day(moment: int) -> str:
    return datetime.fromtimestamp(int(moment), UTC).date().isoformat()


def _cold(split: HeldOut, phase: Phase) -> int:
    """Targets that no training sequence has."""
    targets = split.requests[phase].target
    return int((~np.isin(targets, split.training.values)).sum())
