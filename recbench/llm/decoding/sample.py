"""Draw identifiers from a policy under the trie: at each node a child, by the policy's own chances.

R requests, B requests drawn for together, W draws of a request, C children of a node, T longest identifier.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recbench.data import Ints, Ragged
from recbench.llm.causal_lm import scoring
from recbench.llm.decoding.leaves import EdgeScorer, open_before, open_items
from recbench.llm.decoding.search import batches_by_length, lists_of
from recbench.llm.decoding.tree_cache import DecodingTree, read_lengths
from recbench.llm.items.trie import ROOT, ChildrenOfRows, Trie, TrieTables


def sample_leaves(
    model: nn.Module,
    trie: Trie,
    prompts: Sequence[Sequence[int]],
    chance: NDArray[np.float64],
    *,
    temperature: float = 1.0,
    excluded: Ragged | None = None,
    batch: int = 64,
) -> tuple[Ints, NDArray[np.float64], dict[str, Ints]]:
    """Independent draws after each prompt: leaves [R, W], their log-probabilities [R, W] and counts [R].

    `chance` [R, W, T] are uniform numbers, from which each draw follows. At a node a child is drawn by
    softmax(logit / temperature) over the children below which an item may be drawn. The log-probabilities are
    those of the whole vocabulary at temperature 1, as a search gives them.
    """
    leaves = np.zeros(chance.shape[:2], dtype=np.int64)
    scores = np.zeros(chance.shape[:2])
    stats = {name: np.zeros(len(prompts), dtype=np.int64) for name in ("nodes", "prompt_tokens")}
    with scoring(model):
        tables = trie.tables(next(model.parameters()).device)
        for _, rows in batches_by_length(prompts, batch):
            texts = [prompts[row] for row in rows]
            before = open_before(trie, len(rows), None, lists_of(excluded, rows)).to(tables.order.device)
            drawn = torch.from_numpy(chance[rows]).to(tables.order.device)
            leaf, score, nodes = _sample(model, texts, tables, before, drawn, temperature)
            leaves[rows], scores[rows] = leaf.cpu().numpy(), score.cpu().numpy()
            stats["nodes"][rows], stats["prompt_tokens"][rows] = nodes.cpu().numpy(), read_lengths(texts)
    return leaves, scores, stats


def _sample(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    tables: TrieTables,
    before: Tensor,
    chance: Tensor,
    temperature: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Leaves [B, W], log-probabilities [B, W] and nodes read [B]."""
    longest, width = tables.path.shape[1] - 1, chance.shape[1]
    tree, logits = DecodingTree.start(model, prompts, depth=longest, positions=width * longest)
    logits = logits[:, None].expand(-1, width, -1)
    score_edges = EdgeScorer.on(logits.device, "vocab", None)
    node = torch.full((len(prompts), width), ROOT, device=logits.device)
    position = torch.full_like(node, -1)
    column = torch.arange(width, device=node.device).expand_as(node)
    score, nodes = torch.zeros_like(node, dtype=torch.float64), torch.zeros_like(node[:, 0])
    for step in range(longest):
        inner = tables.num_children[node] > 0
        tokens, below, known = tables.children(torch.where(inner, node, -1))
        open_ = open_items(before, below.flatten(1), tables).view_as(below) > 0
        scaled = logits.gather(-1, tokens).double() / temperature
        share = scaled.masked_fill(~(known & open_), -torch.inf).softmax(-1).nan_to_num(0.0)
        # the last child with a chance, where rounding leaves the sum below the number drawn
        last = (share > 0).long().cumsum(-1).argmax(-1)
        choice = (share.cumsum(-1) <= chance[:, :, step, None]).sum(-1).minimum(last)[..., None]
        token, child = (each.gather(-1, choice)[..., 0] for each in (tokens, below))
        edge = score_edges(logits, ChildrenOfRows(token, child, column, inner, column))
        score = score + torch.where(inner, edge.double(), 0.0)
        node = torch.where(inner, child, node)
        going = inner & (tables.num_children[node] > 0)
        if not going.any():
            break
        nodes += going.sum(1)
        above = position
        position = tree.num_positions + column
        logits = tree.extend(tables.token[node].clamp_min(0), above, tables.depth[node].clamp_min(1))
    return node, score, nodes
