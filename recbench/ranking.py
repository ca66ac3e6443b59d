"""A ranking, the checks of a valid ranking, and the tie rule of the project."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged, Requests
from recbench.errors import CheckError

CHUNK = 512
"""Requests that `rank_in_chunks` scores at a time, so that the scores fit into memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """The K best items of each request. The order is the datum; scores are kept for inspection alone."""

    items: Ints  # [R, K] best first; -1 only after a row's last item
    scores: NDArray[np.float64] | None = None  # [R, K], NaN where items is -1
    certified: NDArray[np.bool_] | None = None  # [R] the top-K provably equals exhaustive scoring
    stats: Mapping[str, float] = field(default_factory=dict)
    """Means over the requests, e.g. nodes_per_user; totals where the name ends in `_tokens`."""

    def check(
        self, requests: Requests, *, num_items: int, depth: int, users: Sequence[str] | None = None
    ) -> None:
        """Raise CheckError, naming the first offending row, unless this ranks `requests` validly.

        `users` [R] are the ids of the rows' users, for the message.
        """
        items = self.items
        if not isinstance(items, np.ndarray) or not np.issubdtype(items.dtype, np.integer):
            raise CheckError(
                f"ranking has items of type {getattr(items, 'dtype', type(items).__name__)}",
                why="an item is its row in the catalogue: casting would make other items of some numbers",
                fix="return an array of integers",
            )
        if items.ndim != 2 or items.shape != (len(requests), depth):
            raise CheckError(f"ranking has shape {items.shape}, expected ({len(requests)}, {depth})")
        outside = (items < -1) | (items >= num_items)
        _raise_at(outside.any(1), "names an item outside the catalogue", users)
        padded = items == -1
        _raise_at((padded[:, :-1] & ~padded[:, 1:]).any(1), "has a padded place before a real item", users)
        ordered = np.sort(items, axis=1)
        repeats = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != -1)
        _raise_at(repeats.any(1), "ranks an item twice", users)
        for name, rows, wrong_when_found in (
            ("an item that the protocol masks", requests.excluded, True),
            ("an item outside the request's candidates", requests.allowed, False),
        ):
            if rows is not None:
                _raise_at(_contains(items, rows, num_items, found=wrong_when_found), f"ranks {name}", users)
        self._check_claims(users)

    def _check_claims(self, users: Sequence[str] | None) -> None:
        """Scores are finite numbers in the shape of the items, certificates one truth value a request."""
        scores, certified = self.scores, self.certified
        if scores is not None:
            if not np.issubdtype(np.asarray(scores).dtype, np.number) or np.iscomplexobj(scores):
                raise CheckError(f"scores are of type {np.asarray(scores).dtype}, expected real numbers")
            if np.shape(scores) != self.items.shape:
                raise CheckError(f"scores have shape {np.shape(scores)}, expected {self.items.shape}")
            not_finite = ~np.isfinite(scores) & (self.items >= 0)
            _raise_at(not_finite.any(1), "has an item whose score is not finite", users)
        if certified is not None and (
            np.asarray(certified).dtype != np.bool_ or np.shape(certified) != self.items.shape[:1]
        ):
            raise CheckError(
                f"certificates are {np.asarray(certified).dtype} of shape {np.shape(certified)}, "
                f"expected bool of shape {self.items.shape[:1]}"
            )


KINDS = {
    "items": ("iu", "whole numbers", "int"),
    "scores": ("fiu", "numbers", "float"),
    "certified": ("b", "booleans", "bool"),
}
"""For each array of a ranking the kinds of numpy's types that it may have, in words, and one of them."""


def as_ranking(returned: object) -> Ranking:
    """What a method's `rank` returned. CheckError where it is no Ranking, or one whose arrays are none, or of
    another kind or shape: nothing is cast silently."""
    if not isinstance(returned, Ranking):
        raise CheckError(
            f"rank returned a {type(returned).__name__}, which is no Ranking",
            fix="return Ranking(items=items), with items [R, K] of whole numbers, best first",
        )
    for name, (kinds, words, one) in KINDS.items():
        array: object = getattr(returned, name)
        if array is None and name != "items":
            continue
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            kind = getattr(array, "dtype", f"a {type(array).__name__}")
            raise CheckError(
                f"the {name} of the ranking are {kind}",
                why=f"they have to be an array of {words}",
                fix=f"{name}={name}.astype({one}), where that changes no value",
            )
        wanted = returned.items.shape[:1] if name == "certified" else returned.items.shape
        if array.shape != wanted:
            raise CheckError(f"the {name} of the ranking have shape {array.shape}, expected {wanted}")
    return returned


def join(rows: Sequence[Ints], parts: Sequence[Ranking]) -> Ranking:
    """Join rankings of parts: part p ranks the requests `rows[p]`, and every request is in one part."""
    order = np.argsort(np.concatenate(list(rows)), kind="stable")
    weights = [len(part) / len(order) for part in rows]
    names = {name for part in parts for name in part.stats}

    def joined(name: str) -> Any:
        columns = [getattr(part, name) for part in parts]
        return None if any(column is None for column in columns) else np.concatenate(columns)[order]

    return Ranking(
        items=joined("items"),
        scores=joined("scores"),
        certified=joined("certified"),
        stats={
            name: float(
                sum(
                    part.stats.get(name, 0.0) * (1.0 if name.endswith("_tokens") else weight)
                    for part, weight in zip(parts, weights, strict=True)
                )
            )
            for name in sorted(names)
        },
    )


def _raise_at(bad: Any, what: str, users: Sequence[str] | None) -> None:
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        row = f"row {first} of the ranking" if users is None else f"user '{users[first]}'"
        raise CheckError(f"{row} {what}", why=f"so do {int(bad.sum())} rows in all")


def _contains(items: Ints, rows: Ragged, num_items: int, *, found: bool) -> Any:
    """[R] whether a row ranks an item that is (found=True) or is not (found=False) in its list."""
    width = num_items + 1
    row_of = np.repeat(np.arange(len(rows)), rows.lengths)
    listed = np.isin(items + 1 + width * np.arange(len(items))[:, None], rows.values + 1 + width * row_of)
    return ((listed if found else ~listed) & (items >= 0)).any(1)


def tie_order(popularity: Ints) -> Ints:
    """[I] all items by training popularity (highest first), then by item: the order inside a tie."""
    return np.lexsort((np.arange(len(popularity)), -popularity)).astype(np.int64)


def may_rank(
    num_requests: int, num_items: int, allowed: Ragged | None, excluded: Ragged | None
) -> NDArray[np.bool_]:
    """[R, I] whether an item may be ranked for a request, by its candidate list and its mask."""
    is_open = np.full((num_requests, num_items), allowed is None)
    rows = np.arange(num_requests)
    if allowed is not None:
        is_open[np.repeat(rows, allowed.lengths), allowed.values] = True
    if excluded is not None:
        is_open[np.repeat(rows, excluded.lengths), excluded.values] = False
    return is_open


def rank_in_chunks(
    score: Callable[[Requests], NDArray[Any]], requests: Requests, popularity: Ints, *, k: int
) -> Ranking:
    """Rank by a method's scores, [r, I] for a chunk of r requests; see `rank_by_scores`."""
    items = np.empty((len(requests), k), dtype=np.int64)
    values = np.empty((len(requests), k))
    for start in range(0, len(requests), CHUNK):
        chosen = np.arange(start, min(start + CHUNK, len(requests)))
        chunk = requests.take(chosen)
        items[chosen], values[chosen] = rank_by_scores(score(chunk), popularity, k=k, requests=chunk)
    return Ranking(items=items, scores=values)


def rank_by_scores(
    scores: NDArray[Any], popularity: Ints, *, k: int, requests: Requests | None = None
) -> tuple[Ints, NDArray[np.float64]]:
    """The k best items of each row of `scores` [R, I] and their scores; equal scores by `tie_order`.

    `requests` supplies candidate lists and masks of the same rows. Items with a score of -inf are left
    out, and short rows are padded with -1 and NaN.
    """
    scores = np.array(scores, dtype=np.float64)
    if requests is not None:
        scores[~may_rank(len(requests), scores.shape[1], requests.allowed, requests.excluded)] = -np.inf
    order = tie_order(popularity)
    scores = scores[:, order]
    width = min(k, scores.shape[1])
    threshold = -np.partition(-scores, width - 1, axis=1)[:, width - 1]
    row, column = np.nonzero((scores >= threshold[:, None]) & (scores > -np.inf))
    best = np.lexsort((column, -scores[row, column], row))
    row, column = row[best], column[best]
    rank = np.arange(len(row)) - np.searchsorted(row, np.arange(len(scores)))[row]
    kept = rank < k
    items = np.full((len(scores), k), -1, dtype=np.int64)
    values = np.full((len(scores), k), np.nan)
    items[row[kept], rank[kept]] = order[column[kept]]
    values[row[kept], rank[kept]] = scores[row[kept], column[kept]]
    return items, values
