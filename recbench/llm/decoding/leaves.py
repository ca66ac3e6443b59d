"""Parts that searches of the trie share: scores of children, the leaves found so far, items from leaves.

Scores within `TIE` of their neighbour are ties. So the k-th item belongs to a group of ties, and the whole
group must be known before its order, which is not that of the scores, can be decided.

B requests searched together, W nodes, X children of all of a request's nodes, L leaves, I items, K depth,
V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.data import Ints, Ragged
from recbench.errors import CheckError
from recbench.llm.items.edges import EdgeScores
from recbench.llm.items.trie import ChildrenOfRows, Trie, TrieTables
from recbench.ranking import may_rank

Normalise = Literal["vocab", "children"]
TIE = 1e-6
NEVER = -torch.inf
_CHUNK = 1 << 24  # logits in memory as float32 log-probabilities at a time


def child_log_probs(
    logits: Tensor, children: ChildrenOfRows, normalise: Normalise, tau: float = 1.0
) -> Tensor:
    """[B, X] log-probability of each child's token given `logits` [B, W, V] of its node; -inf in the padding.

    `vocab` is the log-softmax over the whole vocabulary, `children` over the node's children alone, at the
    temperature `tau`. Computed in float32, or in the logits' type where that is wider. Raises CheckError if a
    log-probability is NaN. `children` may have one row, for all of `logits`.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    batch, nodes, vocabulary = logits.shape
    token, of, known = (each.expand(batch, -1) for each in (children.token, children.of, children.known))
    at = of * vocabulary + token
    if normalise == "children":
        chosen = logits.flatten(1).gather(1, at).to(dtype).masked_fill(~known, NEVER) / tau
        scores = _log_softmax_by(of, chosen, nodes)
    else:
        step = max(1, _CHUNK // max(1, nodes * vocabulary))
        parts = [
            torch.log_softmax(logits[start : start + step], -1, dtype=dtype)
            .flatten(1)
            .gather(1, at[start : start + step])
            for start in range(0, batch, step)
        ]
        scores = torch.cat(parts)
    refuse_nan(scores.where(known, 0))
    return scores.masked_fill(~known, NEVER)


def _log_softmax_by(group: Tensor, scores: Tensor, groups: int) -> Tensor:
    """The log-softmax of `scores` [B, X] inside each of the `groups` that `group` [B, X] numbers."""
    rows = (len(scores), groups)
    highest = scores.new_full(rows, NEVER).scatter_reduce(1, group, scores, "amax")
    scores = scores - highest.gather(1, group)
    total = scores.new_zeros(rows).scatter_add_(1, group, scores.exp())
    return scores - total.log().gather(1, group)


LEAST_SHARE = 1e-20
"""Of a node's collaborative probability that a child has (D3)."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeScorer:
    """Scores of edges: log-probabilities of children, times a factor of each edge where there is one.

    With `guidance` g below 1, g times that plus 1 - g times the logarithm of the child's share of its
    parent's collaborative probability (D3's decoding). Summed along a path these logarithms are that of the
    leaf's probability, where no share is below LEAST_SHARE. No edge scores above 0.
    """

    normalise: Normalise
    tau: float
    factor: Tensor | None  # [N] in (0, 1]
    guidance: float = 1.0
    share: Tensor | None = None  # [B, N] see `log_shares`

    @classmethod
    def on(cls, device: torch.device, normalise: Normalise, edges: EdgeScores | None) -> EdgeScorer:
        edges = edges or EdgeScores()
        factor = None if edges.factor is None else torch.from_numpy(edges.factor).float().to(device)
        return cls(normalise, edges.tau, factor)

    def __call__(self, logits: Tensor, children: ChildrenOfRows) -> Tensor:
        """[B, X] of the children; arguments as in `child_log_probs`."""
        scores = child_log_probs(logits, children, self.normalise, self.tau)
        scores = scores if self.factor is None else scores * self.factor[children.node]
        if self.share is None:
            return scores
        shares = self.share.gather(1, children.node.expand(len(scores), -1))
        return self.guidance * scores.double() + (1 - self.guidance) * shares

    def guided(self, scores: Tensor, trie: Trie, guidance: float) -> EdgeScorer:
        """With the collaborative logits `scores` [B, I] of the requests of a batch."""
        return replace(self, guidance=guidance, share=log_shares(scores, trie))

    def take(self, rows: Tensor) -> EdgeScorer:
        """For some requests of the batch."""
        return self if self.share is None else replace(self, share=self.share[rows])


def log_shares(scores: Tensor, trie: Trie) -> Tensor:
    """[B, N] the logarithm of a node's share of its parent's probability, which is the softmax of the items'
    `scores` [B, I] summed below it; at least that of LEAST_SHARE, and 0 for the root.

    Summed from the leaves upwards, as differences of running sums would lose small shares.
    """
    device = scores.device
    chances = torch.softmax(scores.double(), 1)
    mass = chances.new_zeros((len(scores), len(trie)))
    mass.index_add_(1, torch.from_numpy(trie.leaf).to(device), chances)
    parent = torch.from_numpy(trie.parent).to(device)
    starts = np.searchsorted(trie.depth, np.arange(int(trie.depth.max()) + 2)).tolist()
    for start, end in zip(starts[-2:0:-1], starts[:1:-1], strict=True):
        mass.index_add_(1, parent[start:end], mass[:, start:end].clone())
    least = torch.finfo(mass.dtype).tiny
    share = torch.log(mass.clamp_min(least)) - torch.log(mass[:, parent.clamp_min(0)].clamp_min(least))
    share[:, 0] = 0.0
    return share.clamp(math.log(LEAST_SHARE), 0.0)


def refuse_nan(log_probs: Tensor) -> None:
    """Raise CheckError if a log-probability is NaN."""
    if log_probs.isnan().any():
        raise CheckError(
            "the policy's predictions are not numbers",
            why="its logits have NaN or infinite values, which give no order of the items",
            fix="train it again, e.g. with a smaller --set train.lr",
        )


class Leaves(NamedTuple):
    """The leaves found so far, best first; padded with a score of -inf."""

    score: Tensor  # [B, L]
    node: Tensor  # [B, L]
    num_items: Tensor  # [B, L] items that may be ranked there

    @classmethod
    def none(cls, batch: int, device: torch.device) -> Leaves:
        integers = torch.zeros((batch, 0), dtype=torch.int64, device=device)
        return cls(torch.zeros((batch, 0), dtype=torch.float64, device=device), integers, integers)

    def take(self, rows: Tensor) -> Leaves:
        return Leaves(self.score[rows], self.node[rows], self.num_items[rows])

    def replace(self, rows: Tensor, other: Leaves) -> Leaves:
        """These leaves, with the rows `rows` taken from `other`, which has those rows alone."""
        width = max(self.score.shape[1], other.score.shape[1])
        padded = Leaves(*(_pad(mine, width) for mine in self))
        for mine, theirs in zip(padded, other, strict=True):
            mine[rows] = _pad(theirs, width)
        return padded

    def add(self, other: Leaves, need: Tensor) -> tuple[Leaves, Tensor, Tensor]:
        """Merge both, cut to the leaves that can still be among the best `need` [B] items.

        Also returns the floor [B]: a prefix below it by more than `TIE` is out of the question. It is the
        score of the last leaf in the group of ties with the last needed item, or -inf while there are fewer
        items. And the best score [B] that was cut off.
        """
        score, order = torch.cat([self.score, other.score], 1).sort(1, descending=True)
        node = torch.cat([self.node, other.node], 1).gather(1, order)
        count = torch.cat([self.num_items, other.num_items], 1).gather(1, order)
        width = score.shape[1]
        if width == 0:
            never = score.new_full((len(score),), NEVER)
            return Leaves(score, node, count), never, never
        last = (count.cumsum(1) < need[:, None]).sum(1)  # the leaf with the last needed item
        ends = torch.ones_like(score, dtype=torch.bool)  # a group of ties ends here
        ends[:, :-1] = score[:, :-1] - score[:, 1:] > TIE
        reached = torch.arange(width, device=score.device) >= last[:, None]
        tail = (ends & reached).int().argmax(1)
        full = last < width
        floor = torch.where(full, score.gather(1, tail[:, None])[:, 0], NEVER)
        longest = int(torch.where(full, tail + 1, (score > NEVER).sum(1)).max())
        cut = score[:, longest] if longest < width else torch.full_like(floor, NEVER)
        return Leaves(score[:, :longest], node[:, :longest], count[:, :longest]), floor, cut


def _pad(values: Tensor, width: int) -> Tensor:
    """`values` [B, L] with `width` columns; the added scores are -inf, so that they never count."""
    filler = NEVER if values.is_floating_point() else 0
    return torch.nn.functional.pad(values, (0, width - values.shape[1]), value=filler).clone()


def open_before(trie: Trie, batch: int, allowed: Ragged | None, excluded: Ragged | None) -> Tensor:
    """[B, I + 1] the number of items that may be ranked before each position of the trie order."""
    if allowed is None and excluded is None:
        return torch.arange(trie.num_items + 1)[None].expand(batch, -1)
    is_open = may_rank(batch, trie.num_items, allowed, excluded)
    counts = np.zeros((batch, trie.num_items + 1), dtype=np.int64)
    np.cumsum(is_open[:, trie.order], axis=1, out=counts[:, 1:])
    return torch.from_numpy(counts)


def open_items(before: Tensor, nodes: Tensor, tables: TrieTables) -> Tensor:
    """[B, W] the number of items that may be ranked below each of `nodes` [B, W]; see `open_before`."""
    return before.gather(1, tables.node_hi[nodes]) - before.gather(1, tables.node_lo[nodes])


def rank_items(
    leaves: Leaves, before: Tensor, trie: Trie, *, k: int, tie: Ints
) -> tuple[Ints, NDArray[np.float64]]:
    """[B, K] the best k items of scored leaves and their scores, padded with -1 and NaN.

    Leaves within `TIE` of their neighbour form one group; inside it, and inside a leaf, items are in the
    order `tie` [I].
    """
    score, node, before_ = leaves.score.cpu().numpy(), leaves.node.cpu().numpy(), before.cpu().numpy()
    row, column = np.nonzero(score > -np.inf)
    best = np.lexsort((-score[row, column], row))
    row, node, score = row[best], node[row, column][best], score[row, column][best]
    new_group = (np.diff(row, prepend=-1) != 0) | (np.diff(score, prepend=np.inf) < -TIE)
    sizes = trie.node_hi[node] - trie.node_lo[node]
    leaf = np.repeat(np.arange(len(row)), sizes)
    at = trie.node_lo[node][leaf] + np.arange(len(leaf)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_open = before_[row[leaf], at + 1] > before_[row[leaf], at]
    leaf, item = leaf[is_open], trie.order[at[is_open]]
    tie_rank = np.empty(trie.num_items, dtype=np.int64)
    tie_rank[tie] = np.arange(trie.num_items)
    order = np.lexsort((tie_rank[item], np.cumsum(new_group)[leaf]))
    leaf, item = leaf[order], item[order]
    position = np.arange(len(leaf)) - np.searchsorted(row[leaf], row[leaf])
    leaf, item, position = leaf[position < k], item[position < k], position[position < k]
    items = np.full((len(before_), k), -1, dtype=np.int64)
    scores = np.full((len(before_), k), np.nan)
    items[row[leaf], position], scores[row[leaf], position] = item, score[leaf]
    return items, scores
