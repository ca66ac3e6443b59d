"""The trie of all item identifiers: the sequences that can be decoded, and the items below every prefix.

I items, N nodes, T longest identifier, C children of a node, B rows of Q nodes. Node 0 is the root. Nodes are
numbered level by level and, inside a level, in trie order, so the children of a node are consecutive nodes.
Trie order sorts the items lexicographically by identifier; the items below a node are a contiguous range of
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.data import Ints
from recbench.errors import DataError

ROOT = 0


@dataclass(frozen=True, slots=True, eq=False)
class Trie:
    """The identifiers as flat arrays.

    A leaf is a node without children; items with equal identifiers share one.
    """

    order: Ints  # [I] items in trie order
    node_lo: Ints  # [N] the items below node n are order[node_lo[n]:node_hi[n]]
    node_hi: Ints  # [N]
    depth: Ints  # [N] tokens from the root
    parent: Ints  # [N] -1 at the root
    token: Ints  # [N] the token on the edge into the node, -1 at the root
    first_child: Ints  # [N] children of n are the nodes first_child[n] .. first_child[n] + num_children[n]
    num_children: Ints  # [N]
    run_end: Ints  # [N] end of the run of only children from n: next comes a choice or a leaf
    path: Ints  # [I, T + 1] node after t tokens of item i; -1 past its leaf
    _on: dict[torch.device, TrieTables] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def build(cls, identifiers: Sequence[Sequence[int]]) -> Trie:
        """The trie of `identifiers[i]`, the token ids of item i with its end-of-sequence token.

        Raises DataError for an empty identifier, and for an identifier that continues another (impossible
        if each ends in an end-of-sequence token).
        """
        tokens, order = _sorted_table(identifiers)
        num_items, longest = tokens.shape
        starts = np.zeros(num_items, dtype=bool)  # where a run of items with one prefix starts
        starts[0] = True
        lo, hi, depth, parent, edge = [np.array([0])], [np.array([num_items])], [0], [np.array([-1])], [-1]
        path = np.full((num_items, longest + 1), -1, dtype=np.int64)
        path[:, 0] = ROOT
        for level in range(longest):
            present = tokens[:, level] >= 0
            starts[1:] |= tokens[1:, level] != tokens[:-1, level]
            first = np.flatnonzero(starts & present)
            number = path.max() + np.cumsum(starts & present)
            path[present, level + 1] = number[present]
            lo.append(first)
            hi.append(first + np.bincount(number[present] - number[first[0]]))
            parent.append(path[first, level])
            edge.extend(tokens[first, level].tolist())
            depth.extend([level + 1] * len(first))
        parents = np.concatenate(parent)
        num_children = np.bincount(parents[1:], minlength=len(parents))
        _refuse_continued(num_children, path, order)
        first_child = 1 + np.cumsum(num_children) - num_children
        in_item_order = np.empty_like(path)
        in_item_order[order] = path
        return cls(
            order=order,
            node_lo=np.concatenate(lo),
            node_hi=np.concatenate(hi),
            depth=np.array(depth),
            parent=parents,
            token=np.array(edge),
            first_child=first_child,
            num_children=num_children,
            run_end=_run_ends(first_child, num_children),
            path=in_item_order,
        )

    def __len__(self) -> int:
        """Nodes, root and leaves included."""
        return len(self.token)

    @property
    def num_items(self) -> int:
        return len(self.order)

    @property
    def leaf(self) -> Ints:
        """[I] each item's leaf."""
        leaves: Ints = self.path[np.arange(self.num_items), (self.path >= 0).sum(1) - 1]
        return leaves

    def items(self, node: int) -> Ints:
        """The items below a node."""
        return self.order[self.node_lo[node] : self.node_hi[node]]

    def children(self, node: int) -> Ints:
        """The children of a node, by rising token."""
        first = self.first_child[node]
        return np.arange(first, first + self.num_children[node])

    def tables(self, device: torch.device | str) -> TrieTables:
        """The same arrays on a device, which keeps them; nothing may write to them."""
        where = torch.empty(0, device=device).device  # "cuda" is one of several
        if where not in self._on:
            with torch.inference_mode(False):  # training reads what a search has put there
                arrays = {one.name: torch.from_numpy(getattr(self, one.name)) for one in fields(TrieTables)}
                self._on[where] = TrieTables(**{name: array.to(where) for name, array in arrays.items()})
        return self._on[where]


@dataclass(frozen=True, slots=True, eq=False)
class TrieTables:
    """The trie's arrays as tensors, for batches of nodes; shapes as in `Trie`."""

    order: Tensor
    node_lo: Tensor
    node_hi: Tensor
    depth: Tensor
    token: Tensor
    first_child: Tensor
    num_children: Tensor
    run_end: Tensor
    path: Tensor

    def children(self, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The children of `nodes` [...] as (tokens, nodes, mask), each [..., C], C the most of any node.

        Padding has mask False, token 0 and node 0. A node of -1 has no children.
        """
        known = nodes.clamp_min(0)
        counts = torch.where(nodes >= 0, self.num_children[known], 0)
        width = int(counts.max()) if counts.numel() else 0
        column = torch.arange(width, device=nodes.device)
        mask = column < counts[..., None]
        below = torch.where(mask, self.first_child[known][..., None] + column, 0)
        return torch.where(mask, self.token[below], 0), below, mask

    def children_of_rows(self, nodes: Tensor) -> ChildrenOfRows:
        """The children of each row of `nodes` [B, Q], side by side; a node of -1 has none.

        Far fewer columns than in `children` where a few nodes have most of the children.
        """
        first = nodes.clamp_min(0)
        counts = torch.where(nodes >= 0, self.num_children[first], 0)
        ends = counts.cumsum(1)
        width = int(ends[:, -1].max()) if ends.numel() else 0
        column = torch.arange(width, device=nodes.device).expand(len(nodes), -1).contiguous()
        of = torch.searchsorted(ends, column, right=True).clamp_max(nodes.shape[1] - 1)
        known = column < ends[:, -1:]
        begins = ends - counts
        below = self.first_child[first.gather(1, of)] + column - begins.gather(1, of)
        below = torch.where(known, below, 0)
        return ChildrenOfRows(torch.where(known, self.token[below], 0), below, of, known, begins)


class ChildrenOfRows(NamedTuple):
    """ChildrenOfRows of rows of nodes [B, Q], node by node; [B, X], X the most of any row.

    Padding has `known` False, token 0 and node 0.
    """

    token: Tensor
    node: Tensor
    of: Tensor  # index in 0..Q-1 of its parent
    known: Tensor
    begins: Tensor  # [B, Q] the column of each node's first child, where it has one


def _sorted_table(identifiers: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """The identifiers as rows [I, T] in lexicographic order, padded with -1, and the items in that order."""
    lengths = np.array([len(identifier) for identifier in identifiers], dtype=np.int64)
    if len(lengths) == 0 or lengths.min() == 0:
        raise DataError(
            "a trie needs at least one item" if len(lengths) == 0 else "an item has an empty identifier",
            why="" if len(lengths) == 0 else f"item {int(lengths.argmin())}",
        )
    table = np.full((len(lengths), lengths.max()), -1, dtype=np.int64)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.concatenate([np.asarray(i) for i in identifiers])
    if (table[np.arange(table.shape[1]) < lengths[:, None]] < 0).any():
        raise DataError("an identifier has a negative token")
    order: NDArray[np.int64] = np.lexsort(table.T[::-1])
    return table[order], order


def _run_ends(first_child: Ints, num_children: Ints) -> Ints:
    """[N] the last node of the run of only children that starts at a node, short of a leaf; see `Trie`."""
    end = np.arange(len(num_children))
    single = np.flatnonzero(num_children[1:] == 1) + 1  # nothing is fed for the root
    single = single[num_children[first_child[single]] > 0]
    end[single] = first_child[single]
    while (end != end[end]).any():
        end = end[end]
    return end


def _refuse_continued(num_children: Ints, path: Ints, order: Ints) -> None:
    """Raise DataError if an identifier is the beginning of another."""
    ends = path[np.arange(len(path)), (path >= 0).sum(1) - 1]
    continued = np.flatnonzero(num_children[ends])
    if len(continued):
        raise DataError(
            f"the identifier of item {int(order[continued[0]])} is the beginning of another item's",
            why="the end of an identifier must be a token of its own",
            fix="append the end-of-sequence token to every identifier",
        )
