"""Measures of recommended lists without targets: coverage, concentration, popularity, diversity.

`items` is [R, K], best first, -1 padding. R requests, K places, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Floats
from recbench.results.request_features import Context

# Requests whose pairs of labels are compared together.
CHUNK = 1000


def summary(items: NDArray[Any], context: Context, cutoffs: Sequence[int]) -> dict[str, float]:
    """All measures below at each cutoff: `coverage@K`, `gini@K`, `popularity@K`, ...

    Measures whose input is missing (a history, labels of items, a second place) are left out.
    """
    values: dict[str, float] = {}
    num_items = len(context.item_popularity)
    for cutoff in cutoffs:
        top = items[:, :cutoff]
        values |= {
            f"coverage@{cutoff}": coverage(top, num_items),
            f"gini@{cutoff}": gini(top, num_items),
            f"popularity@{cutoff}": mean_popularity(top, context.item_popularity),
            f"invalid@{cutoff}": float((top < 0).mean()),
        }
        lift = popularity_lift(top, context.item_popularity, context.history_popularity)
        spread = diversity(top, context.item_labels)
        values |= {f"popularity_lift@{cutoff}": lift} if lift is not None else {}
        values |= {f"diversity@{cutoff}": spread} if spread is not None else {}
    return values


def coverage(items: NDArray[Any], num_items: int) -> float:
    """Share of the catalogue that is in at least one list."""
    return len(np.unique(items[items >= 0])) / num_items


def gini(items: NDArray[Any], num_items: int) -> float:
    """Gini coefficient of how often each item of the catalogue is recommended.

    0 where all are recommended equally often, 1 - 1/I where only one item is; 0 for empty lists.
    """
    counts = np.sort(np.bincount(items[items >= 0], minlength=num_items))
    total = counts.sum()
    if total == 0:
        return 0.0
    order = 2 * np.arange(1, num_items + 1) - num_items - 1
    return float((order * counts).sum() / (num_items * total))


def mean_popularity(items: NDArray[Any], popularity: NDArray[Any]) -> float:
    """Mean training interactions of the recommended items, over all filled places; 0 for empty lists."""
    filled = items[items >= 0]
    return float(popularity[filled].mean()) if len(filled) else 0.0


def popularity_lift(
    items: NDArray[Any], popularity: NDArray[Any], history_popularity: NDArray[Any]
) -> float | None:
    """How much more popular a request's list is than its history, as a share: (list - history) / history.

    Both are means over requests of a request's mean training interactions; requests with an empty list are
    left out. 0 repeats the taste of the users, above 0 is an amplification. None where histories have no
    popularity. (The ΔGAP of Abdollahpouri et al. 2019.)
    """
    filled = items >= 0
    some = filled.any(1)
    base = float(history_popularity[some].mean()) if some.any() else 0.0
    if base == 0.0:
        return None
    sums = np.where(filled, popularity[items], 0).sum(1)[some]
    return float((sums / filled.sum(1)[some]).mean()) / base - 1.0


def diversity(items: NDArray[Any], labels: NDArray[Any]) -> float | None:
    """Intra-list diversity: mean over requests of the mean of 1 - Jaccard(labels) over a list's pairs.

    `labels` is [I, L], -1 padding. Pairs with an unlabelled item are left out; None where no pair is left.
    """
    pairs = list(combinations(range(items.shape[1]), 2))
    if not pairs or labels.shape[1] == 0:
        return None
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    labelled: NDArray[np.bool_] = np.asarray((labels >= 0).any(1))
    known = (items >= 0) & labelled[items]
    means = []
    for start in range(0, len(items), CHUNK):
        rows, usable = items[start : start + CHUNK], known[start : start + CHUNK]
        counted = usable[:, left] & usable[:, right]
        distances = np.where(counted, 1 - jaccard(labels, rows[:, left], rows[:, right]), 0.0)
        some = counted.any(1)
        means.append(distances.sum(1)[some] / counted.sum(1)[some])
    values = np.concatenate(means)
    return float(values.mean()) if len(values) else None


def jaccard(labels: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Shared labels over all labels of the items `a` and `b`, of one shape; 0 where neither has any."""
    shared = np.zeros(a.shape, dtype=np.int32)
    of_b = [label[b] for label in labels.T]
    for label in labels.T:
        of_a = np.where(label >= 0, label, -2)[a]  # padding is no label of the other item
        for other in of_b:
            shared += of_a == other
    sizes = (labels >= 0).sum(1)
    together = sizes[a] + sizes[b] - shared
    similarity: Floats = shared / np.maximum(together, 1)
    return similarity
