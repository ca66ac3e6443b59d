"""Attention in a tree of tokens by SDPA with a dense mask and by flex_attention: a section of `gpu.py`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gpu_rounds import Row, rounds, spread
from shapes import SHAPES, precision, wait
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from recbench.llm.model.attention import visible_nodes
from recbench.llm.training.pack import prefix_tree

CALLS, APART = 20, 1 / 32
"""Calls timed together, and how far results may be apart, of the largest entry: bf16 keeps 8 bits."""


def attention(shape: str, args: argparse.Namespace) -> Iterator[Row]:
    """Milliseconds of attention there and back in one layer, on the same row; results are compared first."""
    config, device = SHAPES[shape](), args.device
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    ends = torch.tensor(long_row(), device=device)
    size = (len(ends), config.hidden_size // heads)
    query, key, value = leaves = [
        torch.randn(1, count, *size, device=device, dtype=precision(device), requires_grad=True)
        for count in (heads, groups, groups)
    ]
    mask = visible_nodes(ends[None])
    blocks = create_block_mask(
        lambda _, __, one, other: (other <= one) & (one < ends[other]),
        *(None, None, len(ends), len(ends)),
        device=device,
    )
    fused: Callable[..., Any] = torch.compile(flex_attention, dynamic=False)

    def dense() -> Any:  # heads repeated as transformers does beside a mask
        keys, values = (each.repeat_interleave(heads // groups, 1) for each in (key, value))
        return scaled_dot_product_attention(query, keys, values, attn_mask=mask)

    def by_blocks() -> Any:
        return fused(query, key, value, block_mask=blocks, enable_gqa=True)

    ways = {"sdpa": dense, "flex": by_blocks}
    right, other = (there_and_back(run, leaves) for run in ways.values())
    apart = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(right, other, strict=True))
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in rounds(args):
        for way, run in ways.items():
            wait(device)
            started = time.perf_counter()
            for _ in range(CALLS):
                there_and_back(run, leaves)
            wait(device)
            seconds[way].append((time.perf_counter() - started) / CALLS)
    for way, times in seconds.items():
        row: Row = {"shape": shape, "attention": way, "nodes": len(ends)}
        row |= {"milliseconds": 1000 * float(np.median(times)), "apart": apart}
        yield row | spread("times sdpa", np.array(seconds["sdpa"]) / times)


def long_row() -> Any:
    """[N] the ends of a row as with `pack=user`: 80 items, each a target beside five rejected ones."""
    tokens = np.random.default_rng(0).integers(1000, size=(80, 6, 5)).tolist()
    read = [token for item in tokens for token in item[5]]
    return prefix_tree([([*read[: 5 * at], *one], 5 * at) for at in range(1, 80) for one in tokens[at]]).end


def there_and_back(run: Callable[[], Any], leaves: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of the sum of its squares."""
    output = run()
    return [output.detach(), *torch.autograd.grad(output.float().square().sum(), leaves)]


def wrong_attention(row: Row, args: argparse.Namespace) -> Iterator[str]:
    del args
    if row["attention"] == "flex" and not row["apart"] <= APART:
        yield f"flex_attention at {row['shape']} is {row['apart']:.2g} of the largest entry off"
