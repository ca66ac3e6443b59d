"""Collaborative vectors among the words of a prompt (LLaRA): token ids past the vocabulary denote items.

The token of item i is the id `first + i`. In place of its embedding the model reads the projection of the
item's vector, so that packing, training, search and generation handle plain token ids.

I items, C width of the vectors, D width of the model.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from recbench.sequential.randomness import own_randomness


class CollaborativeInput(nn.Module):
    """p_i = W2 gelu(W1 a_i + b1) + b2 of the frozen item vectors a [I, C]."""

    vectors: Tensor

    def __init__(self, vectors: Tensor, *, width: int, first: int, neutral: int) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)
        self.up = nn.Linear(vectors.shape[1], width)
        self.down = nn.Linear(width, width)
        self.first = first
        self.neutral = neutral
        """The token that replaces item tokens while prompts are text only."""
        self.text_only = False
        """While set, prompts show `neutral` and no collaborative vector."""
        self.untrained = True
        """Whether the curriculum from text to vectors is still to come."""

    def forward(self, items: Tensor) -> Tensor:
        projected: Tensor = self.down(nn.functional.gelu(self.up(self.vectors[items])))
        return projected

    def attach(self, model: Any) -> None:
        """Make `model` read item tokens. Its modules and weights are unchanged."""
        embedding = model.get_input_embeddings()
        plain = embedding.forward

        @functools.wraps(plain)
        def embed(ids: Tensor) -> Tensor:
            is_item = ids >= self.first
            words: Tensor = plain(torch.where(is_item, self.neutral, ids))
            if self.text_only or not is_item.any():
                return words
            mixed = words.clone()
            mixed[is_item] = self(ids[is_item] - self.first).to(words.dtype)
            return mixed

        embedding.forward = embed

    def save(self, path: Path) -> None:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}, path
        )


def hybrid_probability(step: int, steps: int) -> float:
    """The probability step/steps that a batch has hybrid prompts, after `step` of `steps` optimiser steps.

    `step` counts over the whole training. LLaRA's code counts within data-loader workers, which start anew in
    each epoch, so that its probability never exceeds 1/epochs; the method intends 1.
    """
    if not 0 <= step <= steps or steps == 0:
        raise ValueError(f"step must be between 0 and steps, and steps above 0, not {step} of {steps}")
    return step / steps


def new_input(vectors: Tensor, *, width: int, first: int, neutral: int, seed: int) -> CollaborativeInput:
    """A projection initialised from `seed` without touching the global generator."""
    with own_randomness(seed, "cpu"):
        return CollaborativeInput(vectors, width=width, first=first, neutral=neutral)


def load_input(path: Path, *, first: int, neutral: int) -> CollaborativeInput:
    """The trained projection in `path`, past its curriculum."""
    state = load_file(path)
    module = CollaborativeInput(
        state["vectors"], width=state["down.weight"].shape[0], first=first, neutral=neutral
    )
    module.load_state_dict(state)
    module.untrained = False
    return module
