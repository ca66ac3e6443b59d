"""From a ranking on disk and the held-out targets to ranks and metrics. R requests, K places, I items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.errors import CheckError
from recbench.results import list_measures, metrics
from recbench.results.request_features import Context


def target_ranks(items: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.int32]:
    """[R] the 1-based place of each target in its row of `items` [R, K]; 0 where it is absent.

    CheckError where the shapes do not fit or a target is negative (it would be found in the padding).
    """
    if items.ndim != 2 or targets.shape != items.shape[:1]:
        raise CheckError(f"rankings of shape {items.shape} do not fit targets of shape {targets.shape}")
    if (targets < 0).any():
        raise CheckError(f"request {int(np.argmax(targets < 0))} has no target")
    found = items == targets[:, None]
    ranks: NDArray[np.int32] = np.where(found.any(1), found.argmax(1) + 1, 0).astype(np.int32)
    return ranks


def score(
    items: NDArray[Any], targets: NDArray[Any], *, context: Context, cutoffs: Sequence[int]
) -> tuple[NDArray[np.int32], dict[str, float]]:
    """The target ranks [R] and all metrics of the rankings `items` [R, K].

    The metrics are those of `metrics.summary`, checked by `metrics.check_identity`, and of `lists.summary`.
    CheckError where a cutoff exceeds K.
    """
    ranks = target_ranks(items, targets)
    if max(cutoffs) > items.shape[1]:
        raise CheckError(f"cutoff {max(cutoffs)} exceeds the {items.shape[1]} places of the rankings")
    values = metrics.summary(ranks, cutoffs)
    metrics.check_identity(values)
    return ranks, values | list_measures.summary(items, context, cutoffs)
