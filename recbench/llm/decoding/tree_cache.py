"""A prefilled batch of prompts, and the tree of continuations that is decoded below each.

The prompts are read once. Every continuation token is one more query position that sees its prompt, its
ancestors and itself, at position id prompt length + depth - 1, so that nothing in the key-value cache is ever
copied for a beam or reordered. B prompts, P longest prompt, S decoded positions so far, Q new positions,
D deepest continuation, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, CacheLayerMixin

from recbench.data import Ints
from recbench.llm.causal_lm import base_causal_lm
from recbench.llm.model.attention import check_tree_attention, tree_mask

_SHORTEST_HEAD = 16


@dataclass(slots=True, eq=False)
class DecodingTree:
    """Prompts and their continuations in a key-value cache.

    `feed` and `extend` add positions; `rewind` forgets them; `keep` drops finished prompts.
    """

    model: nn.Module
    cache: Cache
    prompt_lengths: Tensor  # [B]
    prompt_width: int  # P
    ancestors: Tensor  # [B, S, D] positions on the way to each, its own from its depth on

    @classmethod
    def start(
        cls, model: nn.Module, prompts: Sequence[Sequence[int]], *, depth: int, positions: int
    ) -> tuple[DecodingTree, Tensor]:
        """Read the prompts; returns the tree and the logits [B, V] that follow each prompt.

        `depth` bounds the continuations; room for `positions` of them is made at once, and more when needed.
        A prompt that begins another, as a user's earlier prompts often do, is read as a part of it. What all
        prompts begin with, as an instruction, is read once.
        """
        check_tree_attention(model)
        lm, device = base_causal_lm(model), next(model.parameters()).device
        hosts = hosts_of(prompts)
        read, host = np.unique(hosts, return_inverse=True)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        width = int(lengths.max())
        # Padded on the right, causal attention never reaches the padding, so that no mask is needed here.
        longest = [prompts[row] for row in read]
        tokens = torch.tensor([[*prompt, *[prompt[-1]] * (width - len(prompt))] for prompt in longest])
        cache = Cache(layer_class_to_replicate=partial(_InPlaceLayer, width + positions))

        def read_on(tokens: Tensor, start: int) -> Tensor:
            states: Tensor = lm.base_model(
                input_ids=tokens.to(device),
                position_ids=torch.arange(start, start + tokens.shape[1], device=device).expand(tokens.shape),
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            return states

        head = shared_head(longest)
        if head:
            read_on(tokens[:1, :head], 0)
            for layer in cache.layers:
                layer.keys, layer.values = (
                    states.repeat(len(longest), 1, 1, 1) for states in (layer.keys, layer.values)
                )
        states = read_on(tokens[:, head:], head)
        row = torch.from_numpy(host).to(device)
        logits: Tensor = lm.get_output_embeddings()(states[row, lengths - 1 - head])
        if len(longest) < len(prompts):
            for layer in cache.layers:
                layer.keys, layer.values = layer.keys[row], layer.values[row]
        tree = cls(
            model=model,
            cache=cache,
            prompt_lengths=lengths,
            prompt_width=width,
            ancestors=torch.empty((len(prompts), 0, depth), dtype=torch.int64, device=device),
        )
        return tree, logits

    @property
    def num_positions(self) -> int:
        """S: continuation positions in the cache."""
        return self.ancestors.shape[1]

    def extend(self, tokens: Tensor, parents: Tensor, depth: Tensor, steps: Tensor | None = None) -> Tensor:
        """Logits [B, Q, V] after `tokens` [B, Q], each below an earlier position (-1: the prompt).

        `depth` [B, Q] counts from 1 for the first token of a continuation. The new positions are numbered
        from `num_positions` on. With `steps` [B, Q], a position continues the `steps` new ones right before
        it, and its `parents` is that of the first of these.
        """
        batch, new = tokens.shape
        own = torch.arange(self.num_positions, self.num_positions + new, device=tokens.device)
        levels = self.ancestors.shape[2]
        above = torch.zeros((batch, new, levels), dtype=torch.int64, device=tokens.device)
        if self.num_positions:
            index = parents.clamp_min(0)[..., None].expand(-1, -1, levels)
            above = self.ancestors.gather(1, index)
        back = (depth[..., None] - 1 - torch.arange(levels, device=tokens.device)).clamp_min(0)
        in_run = back <= (0 if steps is None else steps[..., None])
        ancestors = torch.where(in_run, own[:, None] - back, above)
        sees = torch.zeros((batch, new, self.num_positions + new), dtype=torch.bool, device=tokens.device)
        sees.scatter_(2, ancestors, torch.ones_like(ancestors, dtype=torch.bool))
        self.ancestors = torch.cat([self.ancestors, ancestors], dim=1)
        return self._forward(tokens, depth, sees)

    def feed(self, tokens: Tensor, depth: Tensor, sees: Tensor) -> Tensor:
        """Logits [B, Q, V] of a whole packed tree: `sees` [Q, Q] says which new positions each one sees.

        Forgets all continuations, the fed ones included.
        """
        self.rewind()
        logits = self._forward(tokens, depth, sees[None].expand(len(tokens), -1, -1))
        self.rewind()
        return logits

    def rewind(self) -> None:
        """Forget all continuations, keeping the prompts."""
        self.ancestors = self.ancestors[:, :0]
        for layer in self.cache.layers:
            layer.length = self.prompt_width

    def keep(self, rows: Tensor) -> None:
        """Go on with these prompts only: the one place where the cache is copied."""
        self.prompt_lengths = self.prompt_lengths[rows]
        self.ancestors = self.ancestors[rows]
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]

    def _forward(self, tokens: Tensor, depth: Tensor, sees: Tensor) -> Tensor:
        position = torch.arange(self.prompt_width, device=tokens.device)
        prompt = (position < self.prompt_lengths[:, None])[:, None].expand(-1, tokens.shape[1], -1)
        logits: Tensor = self.model(
            input_ids=tokens,
            attention_mask=tree_mask(self.model, torch.cat([prompt, sees], dim=2)[:, None]),
            position_ids=self.prompt_lengths[:, None] + depth - 1,
            past_key_values=self.cache,
            use_cache=True,
        ).logits
        return logits


def hosts_of(prompts: Sequence[Sequence[int]]) -> Ints:
    """[B] for each prompt the longest prompt that it begins: itself if it begins no other."""
    order = sorted(range(len(prompts)), key=lambda row: tuple(prompts[row]))
    hosts = np.arange(len(prompts))
    # in lexicographic order, a prompt comes right before the prompts that it begins
    for row, following in zip(order[-2::-1], order[:0:-1], strict=True):
        if list(prompts[following][: len(prompts[row])]) == list(prompts[row]):
            hosts[row] = hosts[following]
    return hosts


def shared_head(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; at least the last one of each is left to be read by itself.

    0 for one prompt, and where so few are shared that a second pass costs more than it saves.
    """
    if len(prompts) == 1:
        return 0
    first, last = min(map(list, prompts)), max(map(list, prompts))  # what these share, all between them do
    most = min(map(len, prompts)) - 1
    head = next((at for at in range(most) if first[at] != last[at]), most)
    return head if head >= _SHORTEST_HEAD else 0


def read_lengths(prompts: Sequence[Sequence[int]]) -> Ints:
    """[B] tokens that `DecodingTree.start` reads for each prompt: 0 where another has it in it, and what all
    begin with for the first alone."""
    read = np.unique(hosts_of(prompts))
    head = shared_head([prompts[row] for row in read])
    lengths = np.zeros(len(prompts), dtype=np.int64)
    lengths[read] = [len(prompts[row]) - head for row in read]
    lengths[read[0]] += head
    return lengths


class _InPlaceLayer(CacheLayerMixin):  # type: ignore[misc]  # mypy skips transformers
    """Keys and values of one layer, each [B, heads, positions, width], with the prompts' positions first.

    The tensors are made once with room for `capacity` positions, doubled when that is full, written in place
    and handed out as views of the first `length` positions.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys = _with_room(key_states[:, :, :0], self.capacity)
        self.values = _with_room(value_states[:, :, :0], self.capacity)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self.length, self.length + key_states.shape[2]
        if end > self.keys.shape[2]:
            room = max(end, 2 * self.keys.shape[2])
            self.keys, self.values = _with_room(self.keys, room), _with_room(self.values, room)
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1


def _with_room(states: Tensor, room: int) -> Tensor:
    """`states` [B, heads, n, width] at the start of a tensor with `room` positions."""
    larger = states.new_empty((*states.shape[:2], room, states.shape[3]))
    larger[:, :, : states.shape[2]] = states
    return larger
