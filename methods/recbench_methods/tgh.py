"""TGH: items near the last one in the graph of transitions, by text (arXiv 2605.07125). No learning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import Floats, Ints, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext, Space
from recbench.ranges import NotNegative
from recbench.scorer import ScoreItems, Scorer
from recbench.sequential import transitions

STATE = "tgh.npz"
SLOTS = {"tgh-1": ((7, 2, 1),), "tgh-2": ((5, 1), (3, 1))}
"""Places among the first ten for each of the history's last items, the latest first, by ring."""
KEPT = 512
"""Items whose rings are remembered while requests are ranked."""


@dataclass(kw_only=True)
class TGH(Scorer):
    """Items one to three steps from the last one in the graph of transitions, those of similar text first.

    Ring h of an item has the items that exactly h steps lead to, a step being a transition of training.
    score(i) = cos(v_a, v_i) for anchor a, and in ring 1 plus alpha log1p(c_ai) / max_j log1p(c_aj), with c_ai
    the times that i came next after a. `tgh-1` fills ten places with the best 7, 2 and 1 of the three rings
    of the last item; `tgh-2` with 5 and 1 of the last item's, then 3 and 1 of the item's before it. Where a
    ring has too few, the next best of the others follow, ring by ring, as they do after the tenth place; then
    all other items by popularity, where the paper draws at random.

    The paper's vectors are flan-t5-xl's; `vectors` are those that recbench has. One fit serves all seeds.
    """

    version: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ("torch", "transformers", "sklearn")
    extra: ClassVar[str] = "train"
    space: ClassVar[Space] = {
        "variant": ("tgh-1", "tgh-2"),
        "alpha": (0.0, 0.25, 0.5, 1.0),
    }

    variant: Literal["tgh-1", "tgh-2"] = "tgh-1"
    """The paper's two ways to fill a list."""
    alpha: NotNegative = 0.5
    """Weight of the counts beside the cosine."""
    vectors: Literal["tfidf", "encoder", "collaborative"] = "tfidf"
    """Item vectors: TF-IDF of titles and categories, the installed all-MiniLM-L6-v2, or interactions."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        from recbench.llm import has_text, item_vectors
        from recbench.settings import IdentifierSettings

        if self.vectors != "collaborative" and not has_text(data.catalogue):
            raise UsageError(
                f"tgh:vectors={self.vectors} needs items with text, and these have none",
                fix="-m tgh:vectors=collaborative",
            )
        counts = transitions(data.sequences, data.num_items, window=1, gap_decay=1.0)
        vectors = item_vectors(data, IdentifierSettings(embedding=self.vectors), self.vectors)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.savez(
            run.workdir / STATE,
            data=counts.data,
            indices=counts.indices,
            indptr=counts.indptr,
            vectors=vectors / np.where(norms > 0, norms, 1),
        )

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        from scipy.sparse import csr_matrix

        with np.load(run.workdir / STATE, allow_pickle=False) as state:
            parts = (state["data"], state["indices"], state["indptr"])
            vectors = state["vectors"]
        counts = csr_matrix(parts, shape=(data.num_items, data.num_items))
        popularity = data.catalogue.popularity

        @lru_cache(KEPT)
        def ordered(anchor: int, hops: int) -> list[Ints]:
            cosine = vectors @ vectors[anchor]
            cosine[counts[anchor].indices] += self.alpha * followed(counts[anchor].data)
            found = rings(counts, anchor, hops)
            return [ring[np.lexsort((ring, -popularity[ring], -cosine[ring]))] for ring in found]

        def score(requests: Requests) -> NDArray[np.float64]:
            scores = np.zeros((len(requests), data.num_items))
            for row, history in enumerate(requests.history):
                slots = SLOTS[self.variant][: len(history)]
                anchors = history[::-1].tolist()
                asked = [ordered(anchor, len(own)) for anchor, own in zip(anchors, slots, strict=False)]
                places = np.array(list(filled(asked, slots)), dtype=np.int64)
                scores[row, places] = np.arange(len(places), 0, -1)
            return scores

        return score


def followed(counts: Floats) -> NDArray[np.float64]:
    """Shares of the largest log1p among the counts of what followed an item."""
    weight: NDArray[np.float64] = np.log1p(counts) / np.log1p(max(counts, default=1.0))
    return weight


def rings(counts: Any, source: int, hops: int) -> list[Ints]:
    """The items that exactly 1, 2, ... `hops` steps of the sparse [I, I] `counts` lead to from `source`."""
    seen = np.zeros(counts.shape[0], dtype=bool)
    seen[source] = True
    ring = np.array([source])
    found = []
    for _ in range(hops):
        near = np.unique(counts[ring].indices)
        ring = near[~seen[near]].astype(np.int64)
        seen[ring] = True
        found.append(ring)
    return found


def filled(asked: Sequence[Sequence[Ints]], slots: Sequence[Sequence[int]]) -> Iterator[int]:
    """The items of ordered rings, for each anchor its rings: the slots first, then the rest ring by ring.

    An item has the first place that it gets.
    """
    taken: set[int] = set()
    unbounded = [[len(ring) for ring in own] for own in asked]
    for most in (slots, unbounded):
        for own, room in zip(asked, most, strict=True):
            for ring, places in zip(own, room, strict=True):
                new = [item for item in ring.tolist() if item not in taken][:places]
                taken.update(new)
                yield from new
