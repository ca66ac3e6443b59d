"""Runs of forced tokens: read whole, in pieces, or ahead of the search, with the same ranking."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from recbench.llm.decoding.search import SearchPlan, search_exact
from recbench.llm.items.trie import Trie
from tests.unit.llm.conftest import (
    EOS,
    GAP,
    SMALL,
    VOCAB,
    assert_equals_brute_force,
    brute_force,
    llama,
    long_titles,
    random_prompts,
    search,
)


@pytest.mark.parametrize("width", [1, 5, 400])
def test_runs_are_read_whole_or_in_pieces_with_the_same_result(width: int) -> None:
    identifiers, model, prompts = long_titles(40), llama(9, 12.0), random_prompts(4)
    trie = Trie.build(identifiers)
    num_prefixes = int((trie.num_children > 0).sum()) - 1  # the root is not fed
    # all 40 are ranked, so that every prefix must be expanded once, whatever the order
    result = search(model, identifiers, prompts, k=40, plan=SearchPlan(width=width, budget=10_000))
    assert result.certified.all()
    assert (result.stats["nodes"] == num_prefixes).all()
    assert (result.stats["rounds"] >= -(-num_prefixes // width)).all()
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, trie, identifiers, prompt, "vocab")
        assert_equals_brute_force(result.items[row], truth, result.scores[row])


def test_titles_that_part_at_once_need_two_rounds_however_long_they_are() -> None:
    identifiers = [[first, *range(20, 40), EOS] for first in range(2, 8)]
    model, prompts = llama(0, 12.0), random_prompts(5)
    result = search(model, identifiers, prompts, k=6, plan=SearchPlan(width=6 * 21))
    assert result.certified.all()
    # the first round learns what a forced token costs, the second reads six runs to their ends
    assert result.stats["rounds"].tolist() == [2] * 5
    assert result.stats["nodes"].tolist() == [6 * 21] * 5
    # normalised on the children the first token decides, and no forward pass is needed
    result = search(model, identifiers, prompts, k=6, plan=SearchPlan(normalise="children"))
    assert result.certified.all()
    assert result.stats["rounds"].tolist() == [0] * 5


def bigrams(likely: list[list[int]], by: float, *, seed: int = 0) -> Any:
    """A Llama that predicts from the last token alone, with the successions in `likely` raised by `by`."""
    config = LlamaConfig(
        **{**SMALL, "hidden_size": VOCAB, "num_hidden_layers": 1, "num_attention_heads": 2},
        intermediate_size=4,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config)
    successor = torch.from_numpy(np.random.default_rng(seed).normal(size=(VOCAB, VOCAB))).float()
    for text in likely:
        successor[text[:-1], text[1:]] += by
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(VOCAB))
        model.lm_head.weight.copy_(
            successor.T / VOCAB**0.5
        )  # the last norm scales one to the root of its width
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
    return model.eval()


@pytest.mark.parametrize("by", [0.0, 12.0], ids=["unsure of forced tokens", "sure of them"])
def test_runs_are_read_ahead_only_by_a_model_that_is_sure_of_them(by: float) -> None:
    identifiers = [[2, 3 + item % 6, *range(20 + 6 * item, 26 + 6 * item), EOS] for item in range(40)]
    trie, prompts = Trie.build(identifiers), [[5, 2], [7, 8, 9]]
    model = bigrams(identifiers, by)
    token_by_token = replace(trie, run_end=np.arange(len(trie)))
    options: dict[str, Any] = {"k": 4, "tie": np.arange(40), "plan": SearchPlan(width=16)}
    ahead = search_exact(model, trie, prompts, **options)
    before = search_exact(model, token_by_token, prompts, **options)
    assert ahead.certified.all()
    assert ahead.items.tolist() == before.items.tolist()
    np.testing.assert_allclose(ahead.scores, before.scores, atol=GAP)
    assert (ahead.stats["nodes"] <= before.stats["nodes"]).all()
    if by:
        assert (ahead.stats["rounds"] < before.stats["rounds"]).all()
        assert (before.stats["rounds"] >= 8).all()  # as many as a title has tokens before its end
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, trie, identifiers, prompt, "vocab")
        assert_equals_brute_force(ahead.items[row], truth, ahead.scores[row])


def test_a_budget_that_ends_inside_a_run_is_kept_and_gives_no_certificate() -> None:
    identifiers = [[first, *range(20, 40), EOS] for first in range(2, 8)]
    for limit, nodes in ((6 * 21, 30 + 6 * 21), (6 * 21 - 1, 30)):  # all 126 prefixes may be fed, or not
        plan = SearchPlan(width=8, budget=30, exhaustive_nodes=limit)
        result = search(llama(0, 12.0), identifiers, random_prompts(3), k=6, plan=plan)
        assert (result.stats["nodes"] >= nodes).all()
        assert result.certified.all() == (nodes > 30)
