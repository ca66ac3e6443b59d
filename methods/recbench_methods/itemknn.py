"""ItemKNN (Sarwar et al. 2001): items that the same users chose, by cosine. No learning, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext, Space
from recbench.ranking import Ranking, rank_in_chunks

STATE = "itemknn.npz"


@dataclass(kw_only=True)
class ItemKNN:
    """An item's score is the sum of its cosines with the items of the history; one fit serves all seeds.

    The defaults were chosen on validation NDCG@10 of ml-100k; trials in benchmarks/tuning/.
    """

    version: ClassVar[int] = 1
    kind: ClassVar[Literal["scorer"]] = "scorer"
    stochastic: ClassVar[bool] = False
    space: ClassVar[Space] = {
        "neighbours": (20, 50, 100, 200),
        "shrink": (0.0, 10.0, 100.0),
        "decay": (0.2, 0.4, 0.6, 0.8, 1.0),
    }

    neighbours: int = 50
    """Of each item, this many most similar others count; the rest is 0. Equal ones by item."""
    shrink: float = 0.0
    """Added to the denominator of the cosine, against similarities that rest on few users."""
    decay: float = 0.4
    """Weight of each item of the history relative to the one after it; 1 counts all alike."""

    _similarity: Any = field(default=None, init=False, repr=False)
    _popularity: Ints | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.shrink < 0 or not 0 < self.decay <= 1:
            raise ValueError("neighbours is at least 1, shrink at least 0, decay in (0, 1]")

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        table = similarities(
            data.sequences, data.num_items, neighbours=self.neighbours, shrink=self.shrink
        ).tocsr()
        np.savez(run.workdir / STATE, data=table.data, indices=table.indices, indptr=table.indptr)

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        from scipy.sparse import csr_matrix

        with np.load(run.workdir / STATE, allow_pickle=False) as state:
            parts = (state["data"], state["indices"], state["indptr"])
        self._similarity = csr_matrix(parts, shape=(data.num_items, data.num_items))
        self._popularity = data.catalogue.popularity

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        if self._popularity is None:
            raise UsageError("itemknn was asked to rank before it was loaded", fix="call load first")
        return rank_in_chunks(self._scores, requests, self._popularity, k=k)

    def _scores(self, requests: Requests) -> NDArray[np.float64]:
        seen = weights(requests.history, self._similarity.shape[0], self.decay)
        found: NDArray[np.float64] = (seen @ self._similarity).toarray()
        return found


def similarities(sequences: Ragged, num_items: int, *, neighbours: int, shrink: float) -> Any:
    """Sparse [I, I]: row i holds, for i's nearest others j, n_ij / (sqrt(n_i n_j) + shrink).

    n_i counts the users whose training items hold i, n_ij those whose hold both.
    """
    from scipy.sparse import coo_matrix, csr_matrix

    user = np.repeat(np.arange(len(sequences)), sequences.lengths)
    chosen = csr_matrix((np.ones(len(user)), (user, sequences.values)), shape=(len(sequences), num_items))
    chosen.data[:] = 1.0  # an item that a user chose twice counts once
    counts = np.asarray(chosen.sum(0)).ravel()
    both = (chosen.T @ chosen).tocoo()
    apart = both.row != both.col
    row, column, number = both.row[apart], both.col[apart], both.data[apart]
    cosine = number / (np.sqrt(counts[row] * counts[column]) + shrink)
    order = np.lexsort((column, -cosine, row))
    row, column, cosine = row[order], column[order], cosine[order]
    place = np.arange(len(row)) - np.searchsorted(row, np.arange(num_items))[row]
    near = place < neighbours
    return coo_matrix((cosine[near], (row[near], column[near])), shape=(num_items, num_items))


def weights(histories: Ragged, num_items: int, decay: float) -> Any:
    """Sparse [R, I]: the weight of each item of each history, 1 for the last one."""
    from scipy.sparse import csr_matrix

    lengths = histories.lengths
    row = np.repeat(np.arange(len(histories)), lengths)
    age = np.repeat(histories.offsets[1:], lengths) - 1 - np.arange(len(row))
    return csr_matrix((decay**age, (row, histories.values)), shape=(len(histories), num_items))
