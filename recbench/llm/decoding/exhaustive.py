"""Score all items by walking the whole trie in chunks, each a packed forward pass for a batch of requests.

B requests, N trie nodes, n nodes of a chunk, M leaves, C children of a node, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recbench.data import Ints
from recbench.llm.decoding.leaves import EdgeScorer, Normalise
from recbench.llm.decoding.tree_cache import DecodingTree
from recbench.llm.items.trie import ROOT, Trie, TrieTables

_CHUNK_POSITIONS = 8192  # query positions of one forward pass, over all its requests


def score_leaves(
    model: nn.Module, trie: Trie, prompts: Sequence[Sequence[int]], score_edges: EdgeScorer
) -> tuple[Tensor, Tensor, int]:
    """Summed log-probabilities [B, M] of all leaves, the leaves' nodes [M], and the number of nodes fed."""
    expand, longest = fed_nodes(trie, score_edges.normalise), int(trie.depth.max())
    # a chunk repeats the ancestors of its first node, which may be most of it if identifiers are long
    chunk = max(64, 2 * longest, _CHUNK_POSITIONS // len(prompts))
    tree, logits = DecodingTree.start(model, prompts, depth=longest, positions=chunk)
    tables, num_fed = trie.tables(logits.device), 0
    edges = torch.zeros((len(prompts), len(trie)), dtype=torch.float64, device=logits.device)
    root = torch.full((1,), ROOT, device=logits.device)
    _fill(edges, logits[:, None], root, tables, score_edges)
    for nodes in _chunks(trie, expand, chunk):
        node = torch.from_numpy(nodes).to(logits.device)
        tokens = tables.token[node].expand(len(prompts), -1)
        depth = tables.depth[node].expand(len(prompts), -1)
        _fill(edges, tree.feed(tokens, depth, _sees(node, tables)), node, tables, score_edges)
        num_fed += len(nodes)
    leaves = torch.from_numpy(np.unique(trie.leaf)).to(logits.device)
    return _sums_along_paths(edges, trie)[:, leaves], leaves, num_fed


def fed_nodes(trie: Trie, normalise: Normalise) -> Ints:
    """The nodes that must be fed to score all leaves: neither the root, nor a leaf, nor one that closes."""
    closes = closing_nodes(trie, normalise)
    return np.flatnonzero((trie.num_children > 0) & (closes == np.arange(len(trie))))[1:]


def closing_nodes(trie: Trie, normalise: Normalise) -> Ints:
    """[N] the leaf to which a node leads for certain when scores are normalised on children, else itself.

    Where only one token can follow, its probability among the children is 1: no forward pass is needed.
    The root is always itself.
    """
    closes = np.arange(len(trie))
    if normalise == "children":
        end = trie.run_end
        closes = np.where(trie.num_children[end] == 1, trie.first_child[end], closes)
        closes[ROOT] = ROOT
    return closes


def _fill(edges: Tensor, logits: Tensor, nodes: Tensor, tables: TrieTables, score_edges: EdgeScorer) -> None:
    """Write the log-probability of every edge below `nodes` [n] to `edges` [B, N]; logits are [B, n, V]."""
    children = tables.children_of_rows(nodes[None])
    edges[:, children.node[0]] = score_edges(logits, children).to(edges.dtype)


def _sums_along_paths(edges: Tensor, trie: Trie) -> Tensor:
    """[B, N] the sums of `edges` [B, N] from the root to each node, in place."""
    starts = np.searchsorted(trie.depth, np.arange(1, int(trie.depth.max()) + 2))
    parent = torch.from_numpy(trie.parent).to(edges.device)
    for start, end in itertools.pairwise(starts.tolist()):
        edges[:, start:end] += edges[:, parent[start:end]]
    return edges


def _chunks(trie: Trie, expand: Ints, size: int) -> Iterator[Ints]:
    """The nodes `expand`, cut along the trie order; each chunk includes the ancestors of its nodes."""
    # A node is new to a walk along the trie order where its range begins.
    new = np.cumsum(np.bincount(trie.node_lo[expand], minlength=trie.num_items))
    room = max(1, size - int(trie.depth.max()))
    start = 0
    while start < trie.num_items:
        seen = new[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(new, seen + room, side="right")))
        nodes = expand[(trie.node_lo[expand] < end) & (trie.node_hi[expand] > start)]
        if len(nodes):
            yield nodes
        start = end


def _sees(nodes: Tensor, tables: TrieTables) -> Tensor:
    """[n, n] whether a node sees another; it sees its ancestors and itself."""
    lo, hi, depth = tables.node_lo[nodes], tables.node_hi[nodes], tables.depth[nodes]
    inside = (lo[None] <= lo[:, None]) & (hi[:, None] <= hi[None])
    return inside & (depth[None] <= depth[:, None])
