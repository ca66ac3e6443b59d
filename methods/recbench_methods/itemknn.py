"""ItemKNN: items that the same users chose, by cosine (Sarwar et al. 2001). No learning, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ragged, Requests, TrainingData
from recbench.method import RunContext, Space
from recbench.ranges import Count, Decay, NotNegative
from recbench.scorer import ScoreItems, Scorer

STATE = "itemknn.npz"


@dataclass(kw_only=True)
class ItemKNN(Scorer):
    """Items chosen by the users who chose the history's items, by cosine.

    score(i) = sum over the history's items j of decay^age(j) cos(i, j), where the last item has age 0 and
    cos(i, j) = n_ij / (sqrt(n_i n_j) + shrink): n_i users chose item i, n_ij of them item j too.

    One fit serves all seeds. The defaults were chosen on validation NDCG@10 of ml-100k; trials in
    benchmarks/tuning/.
    """

    version: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    space: ClassVar[Space] = {
        "neighbours": (20, 50, 100, 200),
        "shrink": (0.0, 10.0, 100.0),
        "decay": (0.2, 0.4, 0.6, 0.8, 1.0),
    }

    neighbours: Count = 50
    """Most similar items that each item keeps, equal cosines by item number; all other cosines are 0."""
    shrink: NotNegative = 0.0
    """Added to the cosine's denominator, against similarities that rest on few users."""
    decay: Decay = 0.4
    """Weight of an item of the history relative to the item after it; 1 gives all the same weight."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        table = similarities(
            data.sequences, data.num_items, neighbours=self.neighbours, shrink=self.shrink
        ).tocsr()
        np.savez(run.workdir / STATE, data=table.data, indices=table.indices, indptr=table.indptr)

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        from scipy.sparse import csr_matrix

        with np.load(run.workdir / STATE, allow_pickle=False) as state:
            parts = (state["data"], state["indices"], state["indptr"])
        similarity = csr_matrix(parts, shape=(data.num_items, data.num_items))

        def score(requests: Requests) -> NDArray[np.float64]:
            scores: NDArray[np.float64] = (
                weights(requests.history, data.num_items, self.decay) @ similarity
            ).toarray()
            return scores

        return score


def similarities(sequences: Ragged, num_items: int, *, neighbours: int, shrink: float) -> Any:
    """Sparse [I, I]: row i has the shrunk cosines of item i with its nearest others.

    A user counts once for an item, however often the user chose it.
    """
    from scipy.sparse import coo_matrix, csr_matrix

    user = np.repeat(np.arange(len(sequences)), sequences.lengths)
    chosen = csr_matrix((np.ones(len(user)), (user, sequences.values)), shape=(len(sequences), num_items))
    chosen.data[:] = 1.0  # repeated choices were summed
    counts = np.asarray(chosen.sum(0)).ravel()
    both = (chosen.T @ chosen).tocoo()
    apart = both.row != both.col
    row, column, number = both.row[apart], both.col[apart], both.data[apart]
    cosine = number / (np.sqrt(counts[row] * counts[column]) + shrink)
    order = np.lexsort((column, -cosine, row))
    row, column, cosine = row[order], column[order], cosine[order]
    rank = np.arange(len(row)) - np.searchsorted(row, np.arange(num_items))[row]
    near = rank < neighbours
    return coo_matrix((cosine[near], (row[near], column[near])), shape=(num_items, num_items))


def weights(histories: Ragged, num_items: int, decay: float) -> Any:
    """Sparse [R, I]: decay^age of each item of each history; the last item has age 0."""
    from scipy.sparse import csr_matrix

    lengths = histories.lengths
    row = np.repeat(np.arange(len(histories)), lengths)
    age = np.repeat(histories.offsets[1:], lengths) - 1 - np.arange(len(row))
    return csr_matrix((decay**age, (row, histories.values)), shape=(len(histories), num_items))
