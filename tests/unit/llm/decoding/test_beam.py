"""Beam search over the trie gives the beams of transformers' own constrained `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from recbench.data import Ragged
from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.search import SearchPlan, search_exact
from recbench.llm.items.trie import Trie

VOCAB, EOS, PAD = 120, 1, 0


def llama(seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(10)
        model.lm_head.weight.mul_(25)
    return model


def identifiers_of(kind: str, num_items: int = 150) -> list[list[int]]:
    """Distinct identifiers: 4 codes and an end, or 1 to 5 tokens and an end, some beginning others."""
    rng = np.random.default_rng(0)
    lengths = np.full(4 * num_items, 4) if kind == "codes" else rng.integers(1, 6, 4 * num_items)
    low, high = (2, 60) if kind == "codes" else (2, 9)
    drawn = {(*rng.integers(low, high, length).tolist(), EOS): None for length in lengths}
    return [list(identifier) for identifier in drawn][:num_items]


def random_prompts(num: int) -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.integers(2, VOCAB, rng.integers(2, 12)).tolist() for _ in range(num)]


def generate(
    model: Any, identifiers: Sequence[list[int]], prompts: list[list[int]], width: int
) -> tuple[list[list[int]], np.ndarray[Any, Any]]:
    """Items and scores [R, W] of transformers' own beam search, constrained to the identifiers."""
    following: dict[tuple[int, ...], set[int]] = {}
    for identifier in identifiers:
        for end in range(len(identifier)):
            following.setdefault(tuple(identifier[:end]), set()).add(identifier[end])
    longest = max(len(prompt) for prompt in prompts)
    tokens = torch.tensor([[PAD] * (longest - len(prompt)) + prompt for prompt in prompts])
    output = model.generate(
        input_ids=tokens,
        attention_mask=(torch.arange(longest) >= torch.tensor([[longest - len(p)] for p in prompts])).long(),
        num_beams=width,
        num_return_sequences=width,
        prefix_allowed_tokens_fn=lambda _, ids: sorted(following.get(tuple(ids[longest:].tolist()), {EOS})),
        length_penalty=0.0,
        do_sample=False,
        max_new_tokens=max(len(identifier) for identifier in identifiers),
        return_dict_in_generate=True,
        output_scores=True,
    )
    number = {tuple(identifier): item for item, identifier in enumerate(identifiers)}
    items = [
        number.get(tuple(row[: row.index(EOS) + 1]) if EOS in row else (), -1)
        for row in output.sequences[:, longest:].tolist()
    ]
    shape = (len(prompts), width)
    return np.reshape(items, shape).tolist(), output.sequences_scores.view(shape).numpy()


@pytest.mark.parametrize("kind", ["codes", "titles"])
@pytest.mark.parametrize("width", [2, 5, 20])
def test_beam_equals_transformers_generate(kind: str, width: int) -> None:
    identifiers, prompts = identifiers_of(kind), random_prompts(6)
    for seed in range(2):
        model = llama(seed)
        items, scores = generate(model, identifiers, prompts, width)
        result = search_beam(
            model, Trie.build(identifiers), prompts, width=width, k=width, tie=np.arange(150), batch=4
        )
        assert result.items.tolist() == items
        np.testing.assert_allclose(result.scores, scores, atol=1e-4)
        assert not result.certified.any()


def test_a_beam_as_wide_as_the_trie_finds_the_exact_ranking() -> None:
    identifiers, prompts, model = identifiers_of("titles", 40), random_prompts(5), llama(3)
    trie, tie = Trie.build(identifiers), np.arange(40)
    wide = search_beam(model, trie, prompts, width=200, k=15, tie=tie)
    exact = search_exact(model, trie, prompts, k=15, tie=tie, plan=SearchPlan(width=4))
    assert exact.certified.all()
    assert wide.items.tolist() == exact.items.tolist()
    np.testing.assert_allclose(wide.scores, exact.scores, atol=1e-5)


def test_a_narrow_beam_misses_items_and_never_scores_above_the_exact_ranking() -> None:
    identifiers, prompts, model = identifiers_of("codes"), random_prompts(8), llama(4)
    trie, tie = Trie.build(identifiers), np.arange(150)
    narrow = search_beam(model, trie, prompts, width=5, k=10, tie=tie)
    exact = search_exact(model, trie, prompts, k=10, tie=tie)
    assert (narrow.items[:, 5:] == -1).all()
    assert (narrow.scores[:, :5] <= exact.scores[:, :5] + 1e-5).all()
    assert (narrow.items[:, :5] != exact.items[:, :5]).any()


def test_items_of_a_shared_identifier_follow_each_other_in_tie_order() -> None:
    identifiers = identifiers_of("codes", 30)
    identifiers.append(identifiers[0])
    tie = np.array([30, *range(30)])
    result = search_beam(llama(5), Trie.build(identifiers), random_prompts(3), width=31, k=31, tie=tie)
    for row in result.items.tolist():
        assert row.index(0) == row.index(30) + 1


def test_beams_stay_inside_the_candidates() -> None:
    identifiers, prompts = identifiers_of("codes"), random_prompts(3)
    allowed = Ragged.of([[4, 8, 15], [16], list(range(100))])
    result = search_beam(
        llama(6),
        Trie.build(identifiers),
        prompts,
        width=4,
        k=4,
        tie=np.arange(150),
        allowed=allowed,
        excluded=Ragged.of([[8], [], list(range(50))]),
    )
    assert sorted(result.items[0].tolist()) == [-1, -1, 4, 15]
    assert result.items[1].tolist() == [16, -1, -1, -1]
    assert ((result.items[2] >= 50) & (result.items[2] < 100)).all()
