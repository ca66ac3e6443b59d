"""Prompts that begin other prompts are read once, and answered as if they had been read alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from recbench.llm.decoding.search import batches_by_length, search_exact
from recbench.llm.decoding.tree_cache import DecodingTree, hosts_of, read_lengths, shared_head
from recbench.llm.items.trie import Trie

# the first three begin the fourth; the last two stand alone
PROMPTS = [[1, 5], [1, 5, 6, 7], [1, 5, 6], [1, 5, 6, 7, 8, 9], [1, 6], [2, 5, 6, 7]]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def test_every_prompt_names_the_longest_one_that_it_begins() -> None:
    assert hosts_of(PROMPTS).tolist() == [3, 3, 3, 3, 4, 5]
    assert hosts_of([[7]]).tolist() == [0]
    assert hosts_of([[7, 8], [7, 8], [7]]).tolist().count(2) == 0


def test_tokens_are_read_once_for_the_prompts_that_share_them() -> None:
    assert read_lengths(PROMPTS).tolist() == [0, 0, 0, 6, 2, 4]
    assert read_lengths([[7, 8], [7, 8], [7]]).sum() == 2
    head = list(range(1, 21))
    assert read_lengths([[*head, 30], [*head, 31, 32], [*head, 31]]).tolist() == [21, 2, 0]


def test_prompts_that_are_read_together_fall_into_one_batch() -> None:
    batches = [set(rows.tolist()) for _, rows in batches_by_length(PROMPTS, 4)]
    assert batches == [{4, 5, 0, 2}, {1, 3}]
    flat = np.concatenate([rows for _, rows in batches_by_length(PROMPTS, 4)])
    assert sorted(flat.tolist()) == list(range(6))


def test_a_batch_with_shared_beginnings_reads_fewer_rows_and_gives_each_prompts_own_logits(
    model: Any,
) -> None:
    read: list[tuple[int, ...]] = []
    hook = model.model.register_forward_pre_hook(
        lambda _m, _a, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    with torch.no_grad():
        tree, logits = DecodingTree.start(model, PROMPTS, depth=3, positions=4)
        hook.remove()
        assert read == [(3, 6)]
        after = tree.extend(
            torch.tensor([[9]] * 6), torch.full((6, 1), -1), torch.ones((6, 1), dtype=torch.int64)
        )
        for row, prompt in enumerate(PROMPTS):
            alone = model(torch.tensor([[*prompt, 9]])).logits[0]
            assert torch.allclose(logits[row], alone[-2], atol=1e-5)
            assert torch.allclose(after[row, 0], alone[-1], atol=1e-5)


def test_a_search_over_nested_prompts_ranks_each_as_alone(model: Any) -> None:
    trie = Trie.build([[a, b, 0] for a in range(10, 16) for b in range(20, 25)])
    tie = np.arange(30)
    together = search_exact(model, trie, PROMPTS, k=7, tie=tie)
    for row, prompt in enumerate(PROMPTS):
        alone = search_exact(model, trie, [prompt], k=7, tie=tie)
        assert together.items[row].tolist() == alone.items[0].tolist()
        assert together.scores[row] == pytest.approx(alone.scores[0], abs=1e-5)


HEAD = list(range(10, 34))


def test_the_head_that_all_prompts_share_leaves_each_a_token_of_its_own() -> None:
    assert shared_head([[*HEAD, 1], [*HEAD, 2, 3]]) == 24
    assert shared_head([[*HEAD, 1], [*HEAD[:20], 2, 3]]) == 20
    assert shared_head([HEAD, [*HEAD, 3]]) == 23
    assert shared_head([[*HEAD, 1]]) == 0  # nobody to share it with
    assert shared_head([[*HEAD[:5], 1, *HEAD], [*HEAD[:5], 2, *HEAD]]) == 0  # too short to pay


def test_a_shared_head_is_read_once_and_gives_each_prompts_own_logits(model: Any) -> None:
    prompts = [[*HEAD, *prompt] for prompt in PROMPTS]
    read: list[tuple[int, ...]] = []
    hook = model.model.register_forward_pre_hook(
        lambda _m, _a, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    with torch.no_grad():
        tree, logits = DecodingTree.start(model, prompts, depth=3, positions=4)
        hook.remove()
        assert read == [(1, 24), (3, 6)]
        new = torch.tensor([[9]] * 6)
        after = tree.extend(new, torch.full((6, 1), -1), torch.ones((6, 1), dtype=torch.int64))
        for row, prompt in enumerate(prompts):
            alone = model(input_ids=torch.tensor([[*prompt, 9]])).logits[0]
            torch.testing.assert_close(logits[row], alone[-2], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(after[row, 0], alone[-1], rtol=1e-5, atol=1e-5)
