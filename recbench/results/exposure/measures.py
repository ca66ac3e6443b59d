"""Measures of SPRec and Flower and the share of repeats, with intervals, from lists and what users had.

R requests, K places, I items. A list may be padded with -1: a padded place holds no item, but counts as a
place of R K. DGU, MGU and the ratios are those of SPRec (RegionCh/SPRec), the popularity groups and the words
of Flower (Mr-Peach0301/Flower).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Catalogue, Floats, Ints, Ragged, Requests
from recbench.results.exposure.groups import Groups, by_category, by_popularity, gaps

RESAMPLES = 1000
LEVEL = 0.95
MOST_RECOMMENDED = 3
"""The items whose places `or_ratio` counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemFacts:
    """What is known of the items of a catalogue."""

    category: Groups
    popularity: Groups
    word_item: Ints  # the item of each word of each title
    word: Ints  # the number of that word
    title: Ints  # [I] the number of the title; equal titles share one


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """How often each item [I] is recommended and was had, and what else the measures count."""

    recommended: Floats
    history: Floats
    repeats: float
    """Recommended items that their user had."""
    places: float


def item_facts(catalogue: Catalogue) -> ItemFacts:
    words = [title.split() for title in catalogue.titles]
    flat = [word for row in words for word in row]
    return ItemFacts(
        category=by_category(catalogue.categories),
        popularity=by_popularity(catalogue.popularity),
        word_item=np.repeat(np.arange(len(words)), [len(row) for row in words]),
        word=_numbers(flat),
        title=_numbers(catalogue.titles),
    )


def exposure(
    items: NDArray[Any],
    requests: Requests,
    facts: ItemFacts,
    cutoffs: Sequence[int],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """`mean`, `low`, `high` of each measure at each cutoff: `dgu@K`, `mgu@K`, `dgu_pop@K`, ...

    `requests.excluded` are all items that each user had. Each resample draws as many users with all their
    requests and computes the whole measure again, as none is a mean over requests. A resample repeats
    requests, so it has fewer distinct items and larger gaps than fresh requests have; its spread is put about
    the measure itself.
    """
    had = had_before(items, requests)
    lists = {cutoff: (items[:, :cutoff], had[:, :cutoff].sum(1)) for cutoff in cutoffs}

    def counted(weights: Floats) -> dict[str, float]:
        """The measures where a request counts `weights` [R] times."""
        history = _history(requests.history, weights, len(facts.title))
        return {
            f"{name}@{cutoff}": value
            for cutoff, (top, repeats) in lists.items()
            for name, value in measures(
                Tally(
                    _recommended(top, weights, len(history)),
                    history,
                    float(weights @ repeats),
                    float(weights.sum()) * top.shape[1],
                ),
                facts,
            ).items()
        }

    _, users = np.unique(requests.user, return_inverse=True)
    asks = np.arange(len(items)) if users.max(initial=-1) + 1 == len(items) else users
    drawn = [counted(weights[asks]) for weights in _resampled(int(asks.max()) + 1, resamples, seed)]
    return {
        name: _interval(value, np.array([one[name] for one in drawn if name in one]))
        for name, value in counted(np.ones(len(items))).items()
    }


def measures(tally: Tally, facts: ItemFacts) -> dict[str, float]:
    """All measures of a tally by name; one whose input is missing (labels, titles) is left out."""
    recommended = tally.recommended
    filled = float(recommended.sum())
    found = {
        "div_ratio": float((recommended > 0).sum()) / tally.places,
        "or_ratio": float(np.sort(recommended)[-MOST_RECOMMENDED:].sum()) / tally.places,
    }
    for suffix, groups in (("", facts.category), ("_pop", facts.popularity)):
        pair = gaps(groups.mass(recommended), groups.mass(tally.history))
        found |= {} if pair is None else {f"dgu{suffix}": pair[0], f"mgu{suffix}": pair[1]}
    words = np.bincount(facts.word, weights=recommended[facts.word_item]).astype(np.float64)
    if words.sum() > 0:
        found["word_entropy"] = entropy(words)
        found["ttr"] = float((words > 0).sum()) / float(words.sum())
        titles = np.bincount(facts.title, weights=recommended)
        found["distinct_titles"] = float((titles > 0).sum())
    return found | ({"seen": tally.repeats / filled} if filled else {})


def entropy(counts: Floats) -> float:
    """In bits, of the distribution that the counts make."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def had_before(items: NDArray[Any], requests: Requests) -> NDArray[np.bool_]:
    """[R, K] whether the user had the item before; never in a padded place."""
    assert requests.excluded is not None
    had = requests.excluded
    width = 1 + int(max(items.max(initial=0), had.values.max(initial=0)))
    owner = np.repeat(np.arange(len(had)), had.lengths)
    keys = np.arange(len(items))[:, None] * width + items
    found: NDArray[np.bool_] = np.isin(keys, owner * width + had.values) & (items >= 0)
    return found


def _recommended(items: NDArray[Any], weights: Floats, size: int) -> Floats:
    """[I] how often each item is in the lists, a request counted `weights` [R] times."""
    each = np.repeat(weights, items.shape[1])
    counts = np.bincount(items.ravel() + 1, weights=each, minlength=size + 1)
    return counts[1:].astype(np.float64)


def _history(history: Ragged, weights: Floats, size: int) -> Floats:
    """[I] how often each item is in the histories."""
    counts = np.bincount(history.values, weights=np.repeat(weights, history.lengths), minlength=size)
    return counts.astype(np.float64)


def _resampled(size: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each of `size` users is drawn, for each resample."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, size, size), minlength=size).astype(np.float64)


def _interval(value: float, drawn: Floats) -> dict[str, float]:
    low, high = np.quantile(drawn, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]) - drawn.mean()
    return {"mean": value, "low": max(value + float(low), 0.0), "high": value + float(high)}


def _numbers(texts: Sequence[str]) -> Ints:
    """A number for each text, the same for the same text."""
    known: Mapping[str, int] = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return np.array([known[text] for text in texts], dtype=np.int64)
