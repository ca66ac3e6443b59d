"""Measures of SPRec and Flower and the share of repeats, with intervals, from lists and what users had.

R requests, K places, I items, B ways to count the requests. A list may be padded with -1: a padded place
holds no item, but counts as a place of R K. DGU, MGU and the ratios are those of SPRec (RegionCh/SPRec), the
popularity groups and the words of Flower (Mr-Peach0301/Flower).
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
TOGETHER = 50
"""The resamples that are computed at once."""
LEVEL = 0.95
MOST_RECOMMENDED = 3
"""The items whose places `or_ratio` counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemFacts:
    """What is known of the items of a catalogue."""

    size: int
    category: Groups
    popularity: Groups
    words: Groups | None
    """The words of the titles, each with weight 1; None where they are not asked for."""
    titles: Groups | None
    """The titles; equal ones are one group."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What the measures count."""

    recommended: Floats
    """[B, I] how often each item is recommended."""
    category: Floats
    """[B, G] what the histories have of each category."""
    popularity: Floats
    """[B, G] what they have of each popularity group."""
    repeats: Floats
    """[B] recommended items that their user had."""
    places: Floats
    """[B] of all lists."""


def item_facts(catalogue: Catalogue, *, titles: bool = True) -> ItemFacts:
    return ItemFacts(
        size=len(catalogue.titles),
        category=by_category(catalogue.categories),
        popularity=by_popularity(catalogue.popularity),
        words=_words(catalogue.titles) if titles else None,
        titles=_whole(catalogue.titles) if titles else None,
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
    had, past = had_before(items, requests), _counts(requests.history, facts.size)
    category, popularity = past @ facts.category.matrix.T, past @ facts.popularity.matrix.T
    lists = {
        cutoff: (_counts(_filled(items[:, :cutoff]), facts.size), had[:, :cutoff].sum(1))
        for cutoff in cutoffs
    }

    def counted(weights: Floats) -> dict[str, Floats]:
        """[B] each measure where a request counts `weights` [B, R] times."""
        before = _weighted(weights, category), _weighted(weights, popularity)
        return {
            f"{name}@{cutoff}": values
            for cutoff, (top, repeats) in lists.items()
            for name, values in measures(
                Tally(_weighted(weights, top), *before, weights @ repeats, weights.sum(1) * cutoff), facts
            ).items()
        }

    _, users = np.unique(requests.user, return_inverse=True)
    asks = np.arange(len(items)) if users.max(initial=-1) + 1 == len(items) else users
    drawn = [counted(weights[:, asks]) for weights in _resampled(int(asks.max()) + 1, resamples, seed)]
    return {
        name: _interval(float(value[0]), np.concatenate([one[name] for one in drawn]))
        for name, value in counted(np.ones((1, len(items)))).items()
        if not np.isnan(value[0])
    }


def measures(tally: Tally, facts: ItemFacts) -> dict[str, Floats]:
    """[B] all measures of a tally by name; NaN where its input is missing (labels, titles)."""
    recommended = tally.recommended
    filled, rest = recommended.sum(1), facts.size - min(MOST_RECOMMENDED, facts.size)
    found = {
        "div_ratio": (recommended > 0).sum(1) / tally.places,
        "or_ratio": np.partition(recommended, rest - 1 if rest else 0)[:, rest:].sum(1) / tally.places,
    }
    kinds = ("", facts.category, tally.category), ("_pop", facts.popularity, tally.popularity)
    for suffix, groups, history in kinds:
        dgu, mgu = gaps(groups.mass(recommended), history)
        found |= {f"dgu{suffix}": dgu, f"mgu{suffix}": mgu}
    if facts.words is not None and facts.titles is not None:
        words, titles = facts.words.mass(recommended), facts.titles.mass(recommended)
        some = words.sum(1) > 0
        found["word_entropy"] = np.where(some, entropy(words), np.nan)
        found["ttr"] = _ratio((words > 0).sum(1), words.sum(1))
        found["distinct_titles"] = np.where(some, (titles > 0).sum(1), np.nan)
    return found | {"seen": _ratio(tally.repeats, filled)}


def entropy(counts: Floats) -> Floats:
    """[B] in bits, of the distributions that the counts [B, G] make."""
    share = _ratio(counts, counts.sum(-1, keepdims=True))
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    bits: Floats = -(share * logs).sum(-1)
    return bits


def had_before(items: NDArray[Any], requests: Requests) -> NDArray[np.bool_]:
    """[R, K] whether the user had the item before; never in a padded place."""
    assert requests.excluded is not None
    had = requests.excluded
    width = 1 + int(max(items.max(initial=0), had.values.max(initial=0)))
    owner = np.repeat(np.arange(len(had)), had.lengths)
    pairs = np.sort(np.append(owner * width + had.values, len(had) * width))  # the last one is nobody's
    keys = np.arange(len(items))[:, None] * width + items
    found: NDArray[np.bool_] = (pairs[np.searchsorted(pairs, keys)] == keys) & (items >= 0)
    return found


def _filled(items: NDArray[Any]) -> Ragged:
    """The items of lists [R, K] without their padded places."""
    filled = items >= 0
    return Ragged(np.concatenate([[0], np.cumsum(filled.sum(1))]), items[filled])


def _counts(lists: Ragged, size: int) -> Any:
    """[R, I] how often each request has each item, sparse."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(lists.values)), lists.values, lists.offsets), shape=(len(lists), size))


def _weighted(weights: Floats, counts: Any) -> Floats:
    """[B, N] the sum of the rows of `counts` [R, N], a request's `weights` [B, R] times."""
    found: Floats = (counts.T @ np.ascontiguousarray(weights.T)).T
    return found


def _resampled(size: int, resamples: int, seed: int) -> Iterator[Floats]:
    """[B, U] how often each of `size` users is drawn, for some resamples at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, TOGETHER):
        drawn = [rng.integers(0, size, size) for _ in range(min(TOGETHER, resamples - start))]
        yield np.stack([np.bincount(one, minlength=size) for one in drawn]).astype(np.float64)


def _interval(value: float, drawn: Floats) -> dict[str, float]:
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]) - drawn.mean()
    return {"mean": value, "low": max(value + float(low), 0.0), "high": value + float(high)}


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """NaN where `below` is 0."""
    found: Floats = np.divide(
        above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0
    )
    return found


def _words(titles: Sequence[str]) -> Groups:
    words = [title.split() for title in titles]
    flat = [word for row in words for word in row]
    items = np.repeat(np.arange(len(words)), [len(row) for row in words])
    return Groups(items, _numbers(flat), np.ones(len(flat)), len(set(flat)), len(titles))


def _whole(titles: Sequence[str]) -> Groups:
    size = len(titles)
    return Groups(np.arange(size), _numbers(titles), np.ones(size), len(set(titles)), size)


def _numbers(texts: Sequence[str]) -> Ints:
    """A number for each text, the same for the same text."""
    known: Mapping[str, int] = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return np.array([known[text] for text in texts], dtype=np.int64)
