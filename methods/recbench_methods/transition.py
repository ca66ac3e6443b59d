"""Transition: a table of which items followed which in training. No learning, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ragged, Requests, TrainingData
from recbench.method import RunContext, Space
from recbench.ranges import Count, Decay, Positive, Share
from recbench.scorer import ScoreItems, Scorer
from recbench.sequential import transitions

STATE = "transition.npz"


@dataclass(kw_only=True)
class Transition(Scorer):
    """Items that followed the history's last items in training, by smoothed counts: a floor for every method.

    score(i) = sum over the last `lags` items h of the history of omega_h P(i | h), with
    P(i | a) = (C_ai + smoothing q_i) / (sum_j C_aj + smoothing), where C_ai counts how often i came within
    `window` places after a, and q is popularity; omega_h is proportional to recency^age. So the scores of a
    request are a probability over the catalogue.

    One fit serves all seeds. The defaults were chosen on validation NDCG@10 of ml-100k; trials in
    benchmarks/tuning/.
    """

    version: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    space: ClassVar[Space] = {
        "window": (1, 2, 3, 5),
        "gap_decay": (0.5, 1.0),
        "lags": (1, 2, 3, 5, 10),
        "recency": (0.3, 0.5, 0.8),
        "smoothing": (0.1, 1.0, 5.0, 20.0),
        "backwards": (0.0, 0.5, 1.0),
        "exponent": (0.5, 1.0),
    }

    window: Count = 3
    """Places after an item in which another counts as having followed it."""
    gap_decay: Decay = 0.5
    """Weight of a pair of items relative to a pair one place nearer."""
    lags: Count = 3
    """Last items of the history that are asked; 1 is a first-order Markov chain."""
    recency: Decay = 0.5
    """Weight of an item of the history relative to the item after it."""
    smoothing: Positive = 20.0
    """Pseudo-counts of popularity added to each item's row; they decide where little followed an item."""
    backwards: Share = 0.0
    """Weight of a pair in the opposite order; above 0 it absorbs an order that equal timestamps left open."""
    exponent: Positive = 0.5
    """Power of the training counts in q; below 1 the pseudo-counts are flatter than popularity."""
    keep_self: bool = False
    """Whether an item that follows itself counts."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        counts = transitions(
            data.sequences,
            data.num_items,
            window=self.window,
            gap_decay=self.gap_decay,
            backwards=self.backwards,
            keep_self=self.keep_self,
        )
        chosen = np.bincount(data.sequences.values, minlength=data.num_items) ** self.exponent
        np.savez(
            run.workdir / STATE,
            data=counts.data,
            indices=counts.indices,
            indptr=counts.indptr,
            popularity=chosen / chosen.sum(),
        )

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        from scipy.sparse import csr_matrix, diags

        with np.load(run.workdir / STATE, allow_pickle=False) as state:
            parts = (state["data"], state["indices"], state["indptr"])
            popularity = state["popularity"]
        counts = csr_matrix(parts, shape=(data.num_items, data.num_items))
        mass = np.asarray(counts.sum(1)).ravel() + self.smoothing
        followed = (diags(1 / mass) @ counts).tocsr()

        def score(requests: Requests) -> NDArray[np.float64]:
            asked = lag_weights(requests.history, data.num_items, lags=self.lags, recency=self.recency)
            unseen = asked @ (self.smoothing / mass)  # [R] the share that falls back to popularity
            scores: NDArray[np.float64] = (asked @ followed).toarray() + np.outer(unseen, popularity)
            return scores

        return score


def lag_weights(histories: Ragged, num_items: int, *, lags: int, recency: float) -> Any:
    """Sparse [R, I]: recency^age of the last `lags` items of each history, as shares that sum to 1."""
    from scipy.sparse import csr_matrix

    recent = histories.last(lags)
    lengths = recent.lengths
    row = np.repeat(np.arange(len(recent)), lengths)
    weight = recency ** (recent.offsets[1:][row] - 1 - np.arange(len(row)))
    total = np.bincount(row, weights=weight, minlength=len(recent))
    return csr_matrix((weight / total[row], (row, recent.values)), shape=(len(recent), num_items))
