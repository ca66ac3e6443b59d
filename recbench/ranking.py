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
STRIDE = 16
"""Items whose largest score is taken first where a row's best are looked for."""


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
    order = tie_order(popularity)
    for start in range(0, len(requests), CHUNK):
        chosen = np.arange(start, min(start + CHUNK, len(requests)))
        chunk = requests.take(chosen)
        items[chosen], values[chosen] = _best(score(chunk), order, k, chunk.allowed, chunk.excluded)
    return Ranking(items=items, scores=values)


def rank_by_scores(
    scores: NDArray[Any], popularity: Ints, *, k: int, requests: Requests | None = None
) -> tuple[Ints, NDArray[np.float64]]:
    """The k best items of each row of `scores` [R, I] and their scores; equal scores by `tie_order`.

    `requests` supplies candidate lists and masks of the same rows. Items whose score is -inf or not a number
    are left out, and short rows are padded with -1 and NaN.
    """
    allowed, excluded = (None, None) if requests is None else (requests.allowed, requests.excluded)
    return _best(np.asarray(scores), tie_order(popularity), k, allowed, excluded)


def _best(
    scores: NDArray[Any], order: Ints, k: int, allowed: Ragged | None, excluded: Ragged | None
) -> tuple[Ints, NDArray[np.float64]]:
    """`rank_by_scores` in the tie order [I]: all rows together where few items can be among a row's best, row
    by row where candidate lists, long masks or ties leave many."""
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    num_rows, num_items = scores.shape
    items = np.full((num_rows, k), -1, dtype=np.int64)
    values = np.full((num_rows, k), np.nan)
    rest: Ints = np.arange(num_rows)
    wanted = k + (0 if excluded is None else int(excluded.lengths.max(initial=0)))
    if allowed is None and 2 * wanted <= num_items // STRIDE:
        row, item, value, rest = _contenders(scores, wanted, k, excluded)
        position = np.empty_like(order)
        position[order] = np.arange(num_items)
        best = np.lexsort((position[item], -value))
        best = best[np.argsort(row[best].astype(np.min_scalar_type(num_rows)), kind="stable")]  # by digits
        place = _places(row, num_rows)  # the rows of `best` are in the same order
        best, place = best[place < k], place[place < k]
        items[row[best], place] = item[best]
        values[row[best], place] = value[best]
    for row in rest.tolist():
        masked = _open_scores(
            scores[row],
            None if allowed is None else allowed[row],
            None if excluded is None else excluded[row],
        )
        found = _best_of_row(masked[order], k)
        items[row, : len(found)] = order[found]
        values[row, : len(found)] = masked[order[found]]
    return items, values


def _contenders(
    scores: NDArray[Any], wanted: int, k: int, excluded: Ragged | None
) -> tuple[Ints, Ints, NDArray[Any], Ints]:
    """Rows, items and scores of the k best of each row, all their ties and few others, row by row; and the
    rows left aside because too many of their items are alike.

    Items are divided into groups. At least `wanted` items of a row have the `wanted`-th largest maximum of
    its groups or more, and they are in the few groups whose maximum is so large. `wanted` is k and the
    most items that a mask has.
    """
    num_rows, num_items = scores.shape
    groups = num_items // STRIDE
    whole = groups * STRIDE
    # a group has each `groups`-th item, so that maxima are taken of long runs of memory; the last items, less
    # than STRIDE, are in none; fmax passes over what is not a number
    shaped = scores[:, :whole].reshape(num_rows, STRIDE, groups)
    maxima = np.fmax.reduce(shaped, axis=1, initial=-np.inf)
    least = np.partition(maxima, -wanted, axis=1)[:, -wanted]
    row, group = np.divmod(np.flatnonzero(maxima >= least[:, None]), groups)
    aside = (np.bincount(row, minlength=num_rows) > 2 * wanted) | (least == -np.inf)
    least[aside] = np.nan  # which nothing reaches
    first = (row * num_items + group)[~aside[row]]
    bound = least[row[~aside[row]]]
    flat = scores.reshape(-1)
    cells = []
    for cell in (first + step * groups for step in range(STRIDE)):  # a few at a time stay in the cache
        cells.append(cell[flat.take(cell, mode="clip") >= bound])  # to check the indices takes longer
    row, item = np.nonzero(scores[:, whole:] >= least[:, None])
    cell = np.sort(np.concatenate([*cells, row * num_items + whole + item]))
    if excluded is not None:
        row = np.repeat(np.arange(num_rows), excluded.lengths)
        masked = row * num_items + excluded.values
        masked = masked[flat[masked] >= least[row]]  # the others are not among the cells
        cell = np.delete(cell, np.searchsorted(cell, masked))
    value = flat[cell]
    row, item = np.divmod(cell, num_items)
    # the k-th of each row, so that fewer are sorted
    place = _places(row, num_rows)
    table = np.full((num_rows, max(k, int(place.max(initial=0)) + 1)), -np.inf, dtype=scores.dtype)
    table[row, place] = value
    kept = value >= np.partition(table, -k, axis=1)[row, -k]
    return row[kept], item[kept], value[kept], np.flatnonzero(aside)


def _places(row: Ints, num_rows: int) -> Ints:
    """For each of the sorted numbers `row` how many equal ones stand before it."""
    found: Ints = np.arange(len(row)) - np.searchsorted(row, np.arange(num_rows))[row]
    return found


def _open_scores(scores: NDArray[Any], allowed: Ints | None, excluded: Ints | None) -> NDArray[np.float64]:
    """[I] a row's scores, -inf where an item may not be ranked."""
    found = np.array(scores, dtype=np.float64)
    found[np.isnan(found)] = -np.inf
    if allowed is not None:
        listed = np.full(len(found), -np.inf)
        listed[allowed] = found[allowed]
        found = listed
    if excluded is not None:
        found[excluded] = -np.inf
    return found


def _best_of_row(scores: NDArray[np.float64], k: int) -> Ints:
    """The places of the k largest of `scores` [I], equal ones by place, without those of -inf."""
    k = min(k, len(scores))
    least = np.partition(scores, -k)[-k]
    above = np.flatnonzero(scores > least)
    level = np.flatnonzero(scores == least)[: k - len(above)] if least > -np.inf else above[:0]
    chosen: Ints = np.concatenate([above, level])
    return chosen[np.argsort(-scores[chosen], kind="stable")]
