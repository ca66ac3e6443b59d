"""Tree attention: masks in which a token sees its own branch, and which models take them in which form.

Packed training rows and decoded continuations are trees of tokens.

B rows, Q query positions, K key positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbench.errors import UsageError


def check_tree_attention(model: nn.Module) -> None:
    """Raise UsageError unless every layer of the model applies the given mask and no other.

    Fused kernels (flash, flex) ignore a given mask, and layers with a window ignore tokens before it.
    """
    implementation = _implementation(model)
    if implementation not in ("sdpa", "eager"):
        raise UsageError(
            f"a tree of tokens cannot be read with attention '{implementation}'",
            why="this kind of attention ignores a given mask",
            fix="load the backbone with attn_implementation='sdpa'",
        )
    other = set(_layer_types(model)) - {"full_attention"}
    if other:
        raise UsageError(
            f"the backbone has layers of kind {', '.join(sorted(other))}",
            why="packed training and ranking by search need layers that see the whole prompt",
            fix="recbench list backbones",
        )


def visible_nodes(end: Tensor) -> Tensor:
    """[B, 1, N, N] whether a node sees another, from the number after each node's last descendant [B, N]."""
    node = torch.arange(end.shape[1], device=end.device)
    return ((node <= node[:, None]) & (node[:, None] < end[:, None, :]))[:, None]


def tree_mask(model: nn.Module, visible: Tensor) -> Tensor:
    """`visible` [B, 1, Q, K], whether a query sees a key, in the form that the model's attention takes.

    sdpa takes booleans. Eager attention adds the mask to its scores, where True would count as 1.
    """
    if _implementation(model) == "sdpa":
        return visible
    dtype = next(model.parameters()).dtype
    return torch.where(visible, 0.0, torch.finfo(dtype).min).to(dtype)


def _layer_types(model: nn.Module) -> list[str]:
    config: Any = model.config
    config = config.get_text_config()
    # Families with one kind of layer name only their window (Mistral, Phi 3).
    windowed = ["sliding_attention"] if getattr(config, "sliding_window", None) else ["full_attention"]
    return getattr(config, "layer_types", None) or windowed


def _implementation(model: nn.Module) -> Any:
    config: Any = model.config
    return config.get_text_config()._attn_implementation
