"""Certified exact ranking: best-first search of the identifier trie.

An item's score is the summed log-probability of its identifier, so a prefix bounds everything below it. Each
round expands the best prefixes of every request at once. Where only one token can follow, and again only one,
as in most of a title, the whole run is read in one round. A request is finished when its last needed item
exceeds every prefix left by more than `TIE`: its best k are then those that scoring every item would give.

R requests, B requests searched together, F prefixes waiting, W prefixes expanded in a round, Q nodes of these
with their runs, X children of these, N trie nodes, I items, K depth of the ranking, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recbench.data import Ints, Ragged
from recbench.llm.causal_lm import scoring
from recbench.llm.decoding.exhaustive import closing_nodes, fed_nodes, score_leaves
from recbench.llm.decoding.leaves import (
    NEVER,
    TIE,
    EdgeScorer,
    Leaves,
    Normalise,
    open_before,
    open_items,
    rank_items,
)
from recbench.llm.decoding.tree_cache import DecodingTree, hosts_of, read_lengths
from recbench.llm.items.edges import EdgeScores
from recbench.llm.items.trie import ROOT, Trie, TrieTables

_ROUNDS_WITH_ROOM = 8  # the cache starts with room for this many rounds


class Searched(NamedTuple):
    """A ranking of every request, in the caller's order."""

    items: Ints  # [R, K] best first, -1 after the last
    scores: NDArray[np.float64]  # [R, K] summed log-probabilities, NaN where items is -1
    certified: NDArray[np.bool_]  # [R] equal to scoring every item
    stats: dict[str, Ints]  # [R] each: "nodes" expanded, "rounds" of forward passes, "prompt_tokens" read

    @classmethod
    def empty(cls, num_requests: int, k: int) -> Searched:
        """Room for a ranking: nothing ranked, nothing certified."""
        return cls(
            items=np.full((num_requests, k), -1, dtype=np.int64),
            scores=np.full((num_requests, k), np.nan),
            certified=np.zeros(num_requests, dtype=bool),
            stats={
                name: np.zeros(num_requests, dtype=np.int64) for name in ("nodes", "rounds", "prompt_tokens")
            },
        )

    @property
    def num_read(self) -> int:
        """Tokens that the model read: those of the prompts, and the nodes."""
        return int(self.stats["prompt_tokens"].sum() + self.stats["nodes"].sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """Settings of a search. Only `normalise` changes the scores of a certified ranking."""

    normalise: Normalise = "vocab"
    budget: int = 2000
    """Nodes that may be expanded for a request before the search gives up."""
    width: int = 32
    """Nodes of a request expanded in one round."""
    batch: int = 64
    """Requests searched together."""
    exhaustive_nodes: int = 50_000
    """Where the search gives up, every item is scored if no more than this many nodes must be fed for it.

    A node is a token, so that titles count by their length. Ends of sequences are not fed, nor are tails
    without a choice if scores are normalised on children.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Collaborative:
    """Logits of the items by another model, for D3's decoding."""

    scores: Callable[[Ints], NDArray[Any]]
    """[B, I] of some of the requests."""
    guidance: float
    """The weight of the language model; the other has the rest."""

    def on(self, score: EdgeScorer, rows: Ints, trie: Trie, device: torch.device) -> EdgeScorer:
        """The scorer of a batch."""
        return score.guided(torch.from_numpy(self.scores(rows)).to(device), trie, self.guidance)


def search_exact(
    model: nn.Module,
    trie: Trie,
    prompts: Sequence[Sequence[int]],
    *,
    k: int,
    tie: Ints,
    plan: SearchPlan | None = None,
    allowed: Ragged | None = None,
    excluded: Ragged | None = None,
    edges: EdgeScores | None = None,
    collaborative: Collaborative | None = None,
    progress: Callable[[int], None] | None = None,
) -> Searched:
    """The k best items after each prompt, by summed log-probability, ties in the order `tie` [I].

    `edges` are the policy's own ways of scoring; factors of at most 1 keep the certificate. `collaborative`
    adds another model's logits of the items, whose shares of a node's probability are at most 1 too.
    `allowed` and `excluded` say per request which items may be ranked; they never change a score.
    `progress` is called with the number of requests done. Prompts must not be empty.
    """
    plan = plan or SearchPlan()
    result = Searched.empty(len(prompts), k)
    with scoring(model):
        device = next(model.parameters()).device
        tables = trie.tables(device)
        score = EdgeScorer.on(device, plan.normalise, edges)
        closes = torch.from_numpy(closing_nodes(trie, plan.normalise)).to(device)
        affordable = len(fed_nodes(trie, plan.normalise)) <= plan.exhaustive_nodes
        for done, rows in batches_by_length(prompts, plan.batch):
            texts = [prompts[row] for row in rows]
            result.stats["prompt_tokens"][rows] = read_lengths(texts)
            before = open_before(trie, len(rows), lists_of(allowed, rows), lists_of(excluded, rows)).to(
                device
            )
            guided = score if collaborative is None else collaborative.on(score, rows, trie, device)
            for part in _search(model, texts, tables, closes, _State.start(before, k), plan, guided):
                if affordable:
                    _finish_exhaustively(part, model, trie, texts, guided)
                _store(result, rows, part, trie, k=k, tie=tie)
            if progress is not None:
                progress(done)
    return result


def batches_by_length(prompts: Sequence[Sequence[int]], size: int) -> Iterator[tuple[int, Ints]]:
    """Batches of prompts of similar length, each as (prompts in all batches so far, its rows).

    A prompt that begins another counts as equally long and comes next to it, to be read with it.
    """
    hosts, lengths = hosts_of(prompts), np.array([len(prompt) for prompt in prompts], dtype=np.int64)
    order = np.lexsort((lengths, hosts, lengths[hosts]))
    for start in range(0, len(prompts), size):
        rows = order[start : start + size]
        yield start + len(rows), rows


def read_tokens(prompts: Sequence[Sequence[int]], size: int = 64) -> int:
    """Tokens of `prompts` that are read where batches of `size` share their beginnings."""
    batches = (rows for _, rows in batches_by_length(prompts, size))
    return sum(int(read_lengths([prompts[row] for row in rows]).sum()) for rows in batches)


def lists_of(lists: Ragged | None, rows: Ints) -> Ragged | None:
    return None if lists is None else lists.take(rows)


@dataclass(slots=True, kw_only=True, eq=False)
class _State:
    """The search so far; every tensor has a row for each request that is still in the batch."""

    rows: Tensor  # [B] row in the batch at its start
    before: Tensor  # [B, I + 1] see open_before
    need: Tensor  # [B] items to rank
    score: Tensor  # [B, F] prefixes waiting, in no order; -inf in unused places
    node: Tensor  # [B, F]
    above: Tensor  # [B, F] position of the parent in the decoding tree, -1 below the prompt
    leaves: Leaves
    floor: Tensor  # [B] see Leaves.add
    forgotten: Tensor  # [B] the best score that was ever dropped
    forced: Tensor  # [B] tokens without a choice that are scored, ends of sequences apart
    forced_score: Tensor  # [B] the sum of their log-probabilities
    nodes: Tensor  # [B] nodes expanded
    rounds: Tensor  # [B]
    certified: Tensor  # [B]

    @classmethod
    def start(cls, before: Tensor, k: int) -> _State:
        batch = len(before)
        never = torch.full((batch,), NEVER, dtype=torch.float64, device=before.device)
        zero = torch.zeros(batch, dtype=torch.int64, device=before.device)
        return cls(
            rows=torch.arange(batch, device=before.device),
            before=before,
            need=before[:, -1].clamp_max(k),
            score=never[:, None][:, :0],
            node=zero[:, None][:, :0],
            above=zero[:, None][:, :0],
            leaves=Leaves.none(batch, before.device),
            floor=never,
            forgotten=never,
            forced=zero,
            forced_score=never.new_zeros(batch),
            nodes=zero,
            rounds=zero,
            certified=zero.bool(),
        )

    def take(self, rows: Tensor) -> _State:
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return _State(**{k: v.take(rows) if k == "leaves" else v[rows] for k, v in parts.items()})


def _search(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    tables: TrieTables,
    closes: Tensor,
    state: _State,
    plan: SearchPlan,
    score_edges: EdgeScorer,
) -> Iterator[_State]:
    """Search for all prompts; yields the finished requests as they leave the batch."""
    longest = tables.path.shape[1] - 1
    tree, logits = DecodingTree.start(
        model, prompts, depth=longest, positions=plan.width * min(longest, _ROUNDS_WITH_ROOM)
    )
    logits = logits[:, None]
    root = torch.full_like(state.rows[:, None], ROOT)
    runs = _Runs(root, torch.zeros_like(root, dtype=torch.float64), root - 1, root, root == ROOT)
    position = runs.above
    while True:
        children = tables.children_of_rows(runs.node)
        edge = score_edges(logits, children)
        first = children.begins.clamp_max(edge.shape[1] - 1)
        first_edge = edge.gather(1, first)
        alone = tables.num_children[runs.node.clamp_min(ROOT)] == 1
        alone &= (tables.num_children[children.node.gather(1, first)] > 0) & (runs.node > ROOT)
        state.forced = state.forced + alone.sum(1)
        state.forced_score = state.forced_score + torch.where(alone, first_edge.double(), 0).sum(1)
        above_score = torch.where(runs.ends, runs.scores(first_edge), NEVER)
        score = above_score.gather(1, children.of) + edge
        above = position.expand_as(runs.node).gather(1, children.of)
        _absorb(state, score, closes[children.node], above, tables, plan.budget)
        running = _verdict(state, plan.budget)
        if int(running.sum()) * 2 <= len(running):
            yield state.take(torch.nonzero(~running)[:, 0])
            stay = torch.nonzero(running)[:, 0]
            if len(stay) == 0:
                return
            state = state.take(stay)
            score_edges = score_edges.take(stay)
            tree.keep(stay)
        runs = _choose(state, tables, plan)
        position = tree.num_positions + torch.arange(runs.node.shape[1], device=root.device)
        position = position.expand_as(runs.node)
        known_node = runs.node.clamp_min(ROOT)
        logits = tree.extend(
            tables.token[known_node].clamp_min(0),
            runs.above,
            tables.depth[known_node].clamp_min(1),
            runs.step,
        )


def _absorb(
    state: _State, score: Tensor, node: Tensor, above: Tensor, tables: TrieTables, budget: int
) -> None:
    """Take in scored nodes [B, X]: leaves to the leaves, prefixes to those waiting, and drop the hopeless."""
    count = open_items(state.before, node, tables)
    score = torch.where(count > 0, score, NEVER)
    is_leaf = tables.num_children[node] == 0
    leaf_score = torch.where(is_leaf, score, NEVER)
    leaf_score, choice = leaf_score.topk(int((leaf_score > NEVER).sum(1).max()), dim=1)
    leaves = Leaves(leaf_score, node.gather(1, choice), count.gather(1, choice))
    state.leaves, state.floor, cut = state.leaves.add(leaves, state.need)

    score = torch.cat([state.score, torch.where(is_leaf, NEVER, score)], 1)
    node, above = torch.cat([state.node, node], 1), torch.cat([state.above, above], 1)
    hopeless = state.floor[:, None] - score > TIE
    lost = torch.where(hopeless, score, NEVER).amax(1)
    score = torch.where(hopeless, NEVER, score)
    longest = int((score > NEVER).sum(1).max())
    if longest > budget or 2 * longest <= score.shape[1]:  # else there is little to leave out
        # No more than `budget` of those waiting can ever be expanded.
        score, choice = score.topk(min(longest, budget + 1), dim=1)
        if longest > budget:
            lost = torch.maximum(lost, score[:, budget])
            score, choice = score[:, :budget], choice[:, :budget]
        node, above = node.gather(1, choice), above.gather(1, choice)
    state.score, state.node, state.above = score, node, above
    state.forgotten = torch.maximum(state.forgotten, torch.maximum(lost, cut))


def _verdict(state: _State, budget: int) -> Tensor:
    """Mark certified requests and drop the prefixes of finished ones; returns whether each goes on [B].

    A finished request may stay in the batch for more rounds: there, the best that it dropped stands in
    for its waiting list, lest an empty list look like a completed search.
    """
    best = torch.nn.functional.pad(state.score, (0, 1), value=NEVER).amax(1)
    bound = torch.maximum(best, state.forgotten)
    state.certified = state.certified | (state.floor - bound > TIE) | (bound == NEVER)
    running = ~state.certified & (best > NEVER) & (state.nodes < budget)
    state.score = torch.where(running[:, None], state.score, NEVER)
    state.forgotten = torch.where(running, state.forgotten, bound)
    return running


class _Runs(NamedTuple):
    """The nodes of a round, each prefix followed by its run; all [B, Q], padded with node -1."""

    node: Tensor
    prefix_score: Tensor  # of the prefix that the run begins with
    above: Tensor  # position of that prefix's parent in the decoding tree, -1 below the prompt
    step: Tensor  # index in the run, from 0
    ends: Tensor  # whether it is the last of its run

    def scores(self, edge: Tensor) -> Tensor:
        """[B, Q] the score of each node, given the log-probability `edge` [B, Q] of its first child."""
        column = torch.arange(self.step.shape[1], device=self.step.device)
        back = column[:, None] - column
        before = (back > 0) & (back <= self.step[..., None])  # [B, Q, Q] the nodes earlier in the same run
        return self.prefix_score + torch.where(before, edge.double()[:, None], 0).sum(-1)


def _choose(state: _State, tables: TrieTables, plan: SearchPlan) -> _Runs:
    """The nodes of the next round: together `plan.width`, or what the budget leaves.

    These are the best prefixes, and of their runs the nodes that compete with them by an estimate: each token
    without a choice is taken to cost what such tokens have cost this request on average. A run that is
    not read to its end goes on waiting from there.
    """
    width = min(plan.width, state.score.shape[1])
    score, waiting = state.score.topk(width, dim=1)
    node, above = state.node.gather(1, waiting), state.above.gather(1, waiting)
    run_length = tables.depth[tables.run_end[node]] - tables.depth[node] + 1
    step = torch.arange(min(int(run_length.max()), plan.width), device=score.device)
    cost = state.forced_score / state.forced  # NaN before the first: no estimate, no run
    estimate = score[..., None] + torch.where(step > 0, step * cost[:, None, None], 0)
    worth = (step < run_length[..., None]) & (estimate >= state.floor[:, None, None])
    estimate = torch.where((score > NEVER)[..., None] & ((step == 0) | worth), estimate, NEVER).flatten(1)
    best, choice = estimate.topk(min(plan.width, estimate.shape[1]))
    room = (plan.budget - state.nodes)[:, None]
    taken = (best > NEVER) & (torch.arange(best.shape[1], device=score.device) < room)
    # An estimate falls along a run, or stays: counted, the nodes taken are the first of each run.
    length = torch.zeros_like(node).scatter_add_(1, choice // len(step), taken.long())
    end = length.cumsum(1)
    state.nodes = state.nodes + end[:, -1]
    state.rounds = state.rounds + (end[:, -1] > 0)
    state.score = state.score.scatter(1, waiting, torch.where(length > 0, NEVER, score))

    at = torch.arange(int(end[:, -1].max()), device=score.device).expand(len(score), -1).contiguous()
    known = at < end[:, -1:]
    run = torch.searchsorted(end, at, right=True).clamp_max(width - 1)
    step = torch.where(known, at - (end - length).gather(1, run), 0)
    first = node.gather(1, run)
    any_item = tables.order[tables.node_lo[first]]
    return _Runs(
        node=torch.where(known, tables.path[any_item, tables.depth[first] + step], -1),
        prefix_score=torch.where(known, score.gather(1, run), NEVER),
        above=torch.where(known, above.gather(1, run), -1),
        step=step,
        ends=step == length.gather(1, run) - 1,
    )


def _finish_exhaustively(
    state: _State, model: nn.Module, trie: Trie, prompts: Sequence[Sequence[int]], score_edges: EdgeScorer
) -> None:
    """Score the whole trie for the requests that the search gave up, and certify them."""
    open_rows = torch.nonzero(~state.certified)[:, 0]
    if len(open_rows) == 0:
        return
    rows = state.rows[open_rows]
    texts = [prompts[int(row)] for row in rows]
    score, node, expanded = score_leaves(model, trie, texts, score_edges.take(rows))
    node = node.expand_as(score)
    count = open_items(state.before[open_rows], node, trie.tables(score.device))
    everything = Leaves(torch.where(count > 0, score, NEVER), node, count)
    none = Leaves.none(len(open_rows), score.device)
    best, _, _ = none.add(everything, state.need[open_rows])
    state.leaves = state.leaves.replace(open_rows, best)
    state.nodes[open_rows] += expanded
    state.certified[open_rows] = True


def _store(result: Searched, rows: Ints, part: _State, trie: Trie, *, k: int, tie: Ints) -> None:
    """Write the finished requests `part` of the batch `rows` to `result`."""
    at = rows[part.rows.cpu().numpy()]
    items, scores = rank_items(part.leaves, part.before, trie, k=k, tie=tie)
    result.items[at], result.scores[at] = items, scores
    result.certified[at] = part.certified.cpu().numpy()
    result.stats["nodes"][at] = part.nodes.cpu().numpy()
    result.stats["rounds"][at] = part.rounds.cpu().numpy()
