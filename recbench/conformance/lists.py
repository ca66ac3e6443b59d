"""Pure functions over rankings: equal up to ties, hits, and what chance allows.

R requests, K places, I items.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints
from recbench.ranking import Ranking

SAME_SCORE = 1e-4
"""Scores this near, relative to their size where that is above 1, are a tie: single precision sums the same
numbers in another order to about 1e-5."""
BY_ACCIDENT = 1e-6
"""A share of hits that is less probable than this by chance is none."""


def differing_rows(one: Ranking, other: Ranking) -> Ints:
    """The requests that two rankings [R, K] order differently, where items of one score may change places.

    Without scores every change counts.
    """
    unequal = np.flatnonzero((one.items != other.items).any(1))
    if one.scores is None or other.scores is None:
        return unequal
    return np.array([row for row in unequal if not _same_up_to_ties(one, other, int(row))], dtype=np.int64)


def _same_up_to_ties(one: Ranking, other: Ranking, row: int) -> bool:
    left, right = _scores_of(one, row), _scores_of(other, row)
    if len(left) != len(right):
        return False
    if not left:
        return True
    by_place = zip(left.values(), right.values(), strict=True)
    last = list(left.values())[-1]
    alone = [(left | right)[item] for item in left.keys() ^ right.keys()]
    return (
        all(_near(a, b) for a, b in by_place)
        and all(_near(left[item], right[item]) for item in left.keys() & right.keys())
        and all(_near(score, last) for score in alone)
    )


def _scores_of(ranking: Ranking, row: int) -> dict[int, float]:
    assert ranking.scores is not None
    items, scores = ranking.items[row].tolist(), ranking.scores[row].tolist()
    return {item: score for item, score in zip(items, scores, strict=True) if item >= 0}


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= SAME_SCORE * max(1.0, abs(a), abs(b))


def renumbered(ranking: Ranking, order: Ints) -> Ranking:
    """The ranking in the items' old numbers, where new item n is the old item `order[n]`."""
    items = np.where(ranking.items >= 0, order[ranking.items.clip(0)], -1)
    return Ranking(items=items, scores=ranking.scores)


def hits(ranking: Ranking, targets: Ints, depth: int) -> NDArray[np.bool_]:
    """[R] whether the target is among the first `depth` items."""
    found: NDArray[np.bool_] = (ranking.items[:, :depth] == targets[:, None]).any(1)
    return found


def chance_of(count: int, requests: int, share: float) -> float:
    """The probability of at least `count` hits in so many requests, each a hit with probability `share`."""
    return sum(
        math.comb(requests, hit) * share**hit * (1 - share) ** (requests - hit)
        for hit in range(count, requests + 1)
    )
