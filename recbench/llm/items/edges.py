"""How the edges of a trie are scored beside the model's logits, and how much each one decides.

N trie nodes, an edge known by the node below it; I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Floats, Ints, TrainingData
from recbench.llm.items.trie import ROOT, Trie

FILE = "edges.npz"


@dataclass(frozen=True, slots=True, eq=False)
class EdgeScores:
    """What a fit leaves for the ranking of its policy, beside the weights."""

    tau: float = 1.0
    """Temperature of scores that are normalised on children."""
    factor: NDArray[np.float64] | None = None  # [N] in (0, 1], multiplies the log-probability of an edge

    def save(self, folder: Path) -> None:
        """Write nothing where nothing differs from the model's own scores."""
        if self.tau == 1 and self.factor is None:
            return
        arrays: dict[str, Any] = {"tau": self.tau}
        if self.factor is not None:
            arrays["factor"] = self.factor
        np.savez(folder / FILE, **arrays)

    @classmethod
    def load(cls, folder: Path) -> EdgeScores:
        if not (folder / FILE).exists():
            return cls()
        with np.load(folder / FILE, allow_pickle=False) as arrays:
            return cls(float(arrays["tau"]), arrays.get("factor"))


def target_counts(data: TrainingData) -> Ints:
    """[I] how often each item is a training target of language models."""
    if data.sample is not None:
        targets = data.sequences.values[data.sample]
    else:
        targets = np.delete(data.sequences.values, data.sequences.offsets[:-1])
    return np.bincount(targets, minlength=data.num_items)


def mass_below(trie: Trie, values: Floats) -> Floats:
    """[N] the sum of the items' `values` [I] below each node."""
    total = np.concatenate([[0.0], np.cumsum(values[trie.order])])
    below: Floats = total[trie.node_hi] - total[trie.node_lo]
    return below


def entropy_below(trie: Trie, counts: Ints) -> Floats:
    """[N] -Σ p log p over the items below each node, p an item's share of all training targets (IGD, NeurIPS
    2025); the shares are not normalised again below a node."""
    share = counts / max(1, counts.sum())
    each = -share * np.log(np.where(share > 0, share, 1.0))
    return mass_below(trie, each)


def information_gain(trie: Trie, counts: Ints) -> Floats:
    """[N] by how much the edge into a node lowers that entropy; 0 for the root."""
    entropy = entropy_below(trie, counts)
    gain: Floats = np.where(np.arange(len(trie)) == ROOT, 0.0, entropy[trie.parent] - entropy)
    return gain


def decides(trie: Trie, counts: Ints) -> NDArray[np.bool_]:
    """[N] whether another child of the same parent has a training target below it: the gain is above 0."""
    has_mass = mass_below(trie, counts.astype(np.float64)) > 0
    siblings = np.bincount(trie.parent[1:], weights=has_mass[1:], minlength=len(trie))
    decisive: NDArray[np.bool_] = siblings[trie.parent] - has_mass > 0
    decisive[ROOT] = False
    return decisive


def decoding_factors(trie: Trie, counts: Ints, alpha: float) -> Floats:
    """[N] 1 - α (gain - least) / (most - least) over a node's children that have a training target below.

    1 for the others, for an only child, and where all gains are equal.
    """
    gain = information_gain(trie, counts)
    has_mass = mass_below(trie, counts.astype(np.float64)) > 0
    node = np.flatnonzero(has_mass & (np.arange(len(trie)) != ROOT))
    parent = trie.parent[node]
    least, most = np.full(len(trie), np.inf), np.full(len(trie), -np.inf)
    np.minimum.at(least, parent, gain[node])
    np.maximum.at(most, parent, gain[node])
    spread = most[parent] - least[parent]
    factor = np.ones(len(trie))
    varied = spread > 1e-12
    factor[node[varied]] -= alpha * (gain[node] - least[parent])[varied] / spread[varied]
    return factor
