"""The forms in which the same requests are ranked, and the form in which each answer is comparable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recbench.data import Catalogue, Examples, Ints, Ragged, Requests, TrainingData
from recbench.protocol import Phase
from recbench.ranking import Ranking, join

Rank = Callable[[Requests], Ranking]
LIST_LENGTH = 15


def plain(rank: Rank, requests: Requests) -> Ranking:
    return rank(requests)


def reversed_order(rank: Rank, requests: Requests) -> Ranking:
    """Asked from the last request to the first."""
    backwards = np.arange(len(requests))[::-1].copy()
    return join([backwards], [rank(requests.take(backwards))])


def small_batches(rank: Rank, requests: Requests) -> Ranking:
    """Asked one, two, three ... at a time."""
    ends = np.cumsum(np.arange(1, len(requests) + 1))
    parts = [part for part in np.split(np.arange(len(requests)), ends) if len(part)]
    return join(parts, [rank(requests.take(part)) for part in parts])


def candidates(rank: Rank, requests: Requests) -> Ranking:
    """Only a list of items may be ranked."""
    return rank(replace(requests, allowed=Ragged.of(_lists(requests))))


def other_candidates(rank: Rank, requests: Requests) -> Ranking:
    """The same lists in another order."""
    return rank(replace(requests, allowed=Ragged.of([row[::-1] for row in _lists(requests)])))


def masked(rank: Rank, requests: Requests) -> Ranking:
    """Items of the history may not be ranked."""
    return rank(replace(requests, excluded=requests.history))


def _lists(requests: Requests) -> Sequence[Ints]:
    """The history's last items and others, in an order without meaning; fixed."""
    items = np.unique(requests.history.values)
    rng = np.random.default_rng(11)
    return [rng.permutation(items)[:LIST_LENGTH] for _ in range(len(requests))]


@dataclass(frozen=True, slots=True)
class Form:
    """One way to ask."""

    ask: Callable[[Rank, Requests], Ranking]
    phase: Phase = "test"


FORMS: Mapping[str, Form] = {
    "plain": Form(plain),
    "reversed": Form(reversed_order),
    "batches": Form(small_batches),
    "candidates": Form(candidates),
    "other-candidates": Form(other_candidates),
    "masked": Form(masked),
    "valid": Form(plain, phase="valid"),
}


def with_new_numbers(data: TrainingData, order: Ints) -> TrainingData:
    """The same data, where new item n is the old item `order[n]`."""
    new = np.argsort(order)
    catalogue = data.catalogue

    def moved(rows: Ragged) -> Ragged:
        return Ragged(rows.offsets, new[rows.values])

    return replace(
        data,
        catalogue=Catalogue(
            item_ids=tuple(catalogue.item_ids[item] for item in order),
            titles=tuple(catalogue.titles[item] for item in order),
            categories=tuple(catalogue.categories[item] for item in order),
            popularity=catalogue.popularity[order],
            codes=None if catalogue.codes is None else catalogue.codes[order],
        ),
        sequences=moved(data.sequences),
        valid=Examples(
            requests=requests_with_new_numbers(data.valid.requests, order), target=new[data.valid.target]
        ),
        digests={**data.digests, "catalogue": "renumbered", "split": "renumbered"},
    )


def requests_with_new_numbers(requests: Requests, order: Ints) -> Requests:
    """The same requests; they have neither lists nor masks."""
    new = np.argsort(order)
    return replace(requests, history=Ragged(requests.history.offsets, new[requests.history.values]))
