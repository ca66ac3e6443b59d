"""Trie-constrained beam search with the scores and the order of transformers' `generate`.

Scores are summed log-softmax over the whole vocabulary, without a length penalty. Of the best 2W
continuations of a step, those among the first W that end an identifier are finished, and the best W others
go on. Items outside the beam are not ranked, and nothing is certified.

B requests searched together, W beams, X children of these, L leaves, K depth of the ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from recbench.data import Ints, Ragged
from recbench.llm.causal_lm import scoring
from recbench.llm.decoding.leaves import NEVER, EdgeScorer, Leaves, open_before, open_items, rank_items
from recbench.llm.decoding.search import Searched, batches_by_length, lists_of
from recbench.llm.decoding.tree_cache import DecodingTree, read_lengths
from recbench.llm.items.edges import EdgeScores
from recbench.llm.items.trie import ROOT, Trie, TrieTables

_STEPS_WITH_ROOM = 16  # the cache starts with room for this many steps


def search_beam(
    model: nn.Module,
    trie: Trie,
    prompts: Sequence[Sequence[int]],
    *,
    width: int,
    k: int,
    tie: Ints,
    batch: int = 64,
    allowed: Ragged | None = None,
    excluded: Ragged | None = None,
    edges: EdgeScores | None = None,
    progress: Callable[[int], None] | None = None,
) -> Searched:
    """The k best items of a beam of `width` after each prompt; arguments as in `search_exact`.

    Short rows are padded: a beam of W finds at most W identifiers.
    """
    result = Searched.empty(len(prompts), k)
    with scoring(model):
        tables = trie.tables(next(model.parameters()).device)
        score = EdgeScorer.on(tables.order.device, "vocab", edges)
        for done, rows in batches_by_length(prompts, batch):
            before = open_before(trie, len(rows), lists_of(allowed, rows), lists_of(excluded, rows))
            before = before.to(tables.order.device)
            texts = [prompts[row] for row in rows]
            leaves, nodes, steps = _beam(model, texts, tables, before, width, score)
            result.stats["prompt_tokens"][rows] = read_lengths(texts)
            result.items[rows], result.scores[rows] = rank_items(leaves, before, trie, k=k, tie=tie)
            result.stats["nodes"][rows], result.stats["rounds"][rows] = nodes.cpu().numpy(), steps
            if progress is not None:
                progress(done)
    return result


def _beam(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    tables: TrieTables,
    before: Tensor,
    width: int,
    score_edges: EdgeScorer,
) -> tuple[Leaves, Tensor, int]:
    """The finished beams [B, W], the nodes expanded [B] and the steps taken after the prompt."""
    longest = tables.path.shape[1] - 1
    tree, logits = DecodingTree.start(
        model, prompts, depth=longest, positions=width * min(longest, _STEPS_WITH_ROOM)
    )
    logits = logits[:, None]
    node = torch.full((len(prompts), 1), ROOT, device=logits.device)
    score, position = torch.zeros_like(node, dtype=torch.float64), torch.full_like(node, -1)
    finished, nodes = Leaves.none(len(prompts), logits.device), torch.zeros_like(node[:, 0])
    for step in range(longest):
        children = tables.children_of_rows(node)
        total = score.gather(1, children.of) + score_edges(logits, children)
        above = position.gather(1, children.of)
        finished, score, choice = _step(finished, total, children.node, tables, before, width)
        alive = score > NEVER
        if not alive.any():
            return finished, nodes, step
        node = torch.where(alive, children.node.gather(1, choice), -1)
        nodes += alive.sum(1)
        position = tree.num_positions + torch.arange(node.shape[1], device=node.device).expand_as(node)
        known_node = node.clamp_min(ROOT)
        logits = tree.extend(
            tables.token[known_node].clamp_min(0),
            above.gather(1, choice),
            tables.depth[known_node].clamp_min(1),
        )
    return finished, nodes, longest


def _step(
    finished: Leaves, score: Tensor, node: Tensor, tables: TrieTables, before: Tensor, width: int
) -> tuple[Leaves, Tensor, Tensor]:
    """Take one step of the beam over scored nodes [B, X].

    Returns the finished leaves, and the beams that go on as scores [B, W] (-inf: no beam) and indices into X.
    """
    count = open_items(before, node, tables)
    score = torch.where(count > 0, score, NEVER)
    best, choice = score.topk(min(2 * width, score.shape[1]), dim=1)
    ends = tables.num_children[node.gather(1, choice)] == 0
    in_beam = torch.arange(best.shape[1], device=best.device) < width
    new = Leaves(torch.where(ends & in_beam, best, NEVER), node.gather(1, choice), count.gather(1, choice))
    together = Leaves(*(torch.cat(pair, 1) for pair in zip(finished, new, strict=True)))
    kept, order = together.score.topk(min(width, together.score.shape[1]), dim=1)
    finished = Leaves(kept, together.node.gather(1, order), together.num_items.gather(1, order))
    running, order = torch.where(ends, NEVER, best).topk(min(width, best.shape[1]), dim=1)
    # Scores only fall: a beam below the worst of W finished ones will not replace it.
    if kept.shape[1] == width:
        running = torch.where(running > kept[:, -1:], running, NEVER)
    return finished, running, choice.gather(1, order)
