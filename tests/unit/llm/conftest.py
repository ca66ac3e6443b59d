"""Small models, identifiers and prompts, and the scores of every item by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from recbench.data import Ints
from recbench.llm.decoding.search import Searched, SearchPlan, search_exact
from recbench.llm.items.edges import EdgeScores
from recbench.llm.items.trie import Trie

VOCAB, EOS = 300, 1
SMALL: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
FULL = SearchPlan(budget=10_000)
GAP = 1e-5  # float32 scores of the same identifier differ by less


def llama(seed: int, sharpness: float = 25.0, **config: Any) -> Any:
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            **SMALL, intermediate_size=64, num_key_value_heads=2, attn_implementation="sdpa", **config
        )
    )
    return sharpened(model, sharpness)


def sharpened(model: Any, sharpness: float) -> Any:
    """Random weights give nearly flat predictions; a scaled head and embeddings make them peaked."""
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(10)
        model.get_output_embeddings().weight.mul_(
            sharpness / 10 if model.config.tie_word_embeddings else sharpness
        )
    return model.eval()


def codes(num_items: int, *, levels: int = 4, per_level: int = 20, seed: int = 0) -> list[list[int]]:
    """Semantic ids of `levels` codes and an end; some items share one."""
    draw = np.random.default_rng(seed).integers(0, per_level, (num_items, levels))
    return [[*(2 + per_level * np.arange(levels) + row).tolist(), EOS] for row in draw]


def titles(num_items: int, seed: int = 0) -> list[list[int]]:
    """Identifiers of 1 to 5 tokens and an end; some begin others, some are shared."""
    rng = np.random.default_rng(seed)
    return [[*rng.integers(2, 7, rng.integers(1, 6)).tolist(), EOS] for _ in range(num_items)]


def long_titles(num_items: int, seed: int = 0) -> list[list[int]]:
    """Titles that share a first token and soon part, so that most of each is forced.

    Some have one token, some go on where another ends, some are shared.
    """
    rng = np.random.default_rng(seed)
    texts = [
        [2, *rng.integers(3, 9, 2), *rng.integers(9, VOCAB, rng.integers(0, 12))] for _ in range(num_items)
    ]
    texts[1], texts[2], texts[3] = [2], [7], texts[0]
    texts[4] = [*texts[0], *rng.integers(9, VOCAB, 5)]
    return [[*(int(token) for token in text), EOS] for text in texts]


def random_prompts(num: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, VOCAB, rng.integers(1, 14)).tolist() for _ in range(num)]


@torch.no_grad()
def brute_force(
    model: nn.Module,
    trie: Trie,
    identifiers: Sequence[Sequence[int]],
    prompt: list[int],
    normalise: str,
    edges: EdgeScores | None = None,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[I] the summed log-probability of every identifier, each in a sequence of its own without any cache."""
    scores = np.zeros(len(identifiers))
    for length in sorted({len(identifier) for identifier in identifiers}):
        items = [i for i, identifier in enumerate(identifiers) if len(identifier) == length]
        tokens = torch.tensor([[*prompt, *identifiers[i]] for i in items])
        logits = model(input_ids=tokens).logits[:, len(prompt) - 1 : -1].double()
        for step in range(length):
            here = logits[:, step]
            if normalise == "children":
                allowed = torch.zeros_like(here, dtype=torch.bool)
                for row, i in enumerate(items):
                    allowed[row, trie.token[trie.children(int(trie.path[i, step]))]] = True
                here = here.masked_fill(~allowed, -torch.inf) / (1.0 if edges is None else edges.tau)
            picked = here.log_softmax(-1).gather(1, tokens[:, len(prompt) + step, None])[:, 0]
            if edges is not None and edges.factor is not None:
                picked *= torch.from_numpy(edges.factor[trie.path[items, step + 1]])
            scores[items] += picked.numpy()
    return scores


def assert_equals_brute_force(items: Ints, truth: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> None:
    """The ranked items have their true scores, and these are the best; order is free inside a gap."""
    ranked = items[items >= 0]
    assert len(set(ranked.tolist())) == len(ranked)
    np.testing.assert_allclose(scores[: len(ranked)], truth[ranked], atol=GAP)
    best = -np.sort(-truth[np.isfinite(truth)])[: len(items)]
    assert len(ranked) == len(best)
    np.testing.assert_allclose(truth[ranked], best, atol=GAP)


def search(
    model: nn.Module, identifiers: list[list[int]], prompts: list[list[int]], **options: Any
) -> Searched:
    defaults: dict[str, Any] = {"k": 10, "tie": np.arange(len(identifiers)), "plan": FULL}
    return search_exact(model, Trie.build(identifiers), prompts, **(defaults | options))
