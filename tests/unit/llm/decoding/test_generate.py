"""Free generation gives the texts of transformers' own `generate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from recbench.errors import CheckError
from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.generate import generate
from recbench.llm.items.trie import Trie

VOCAB, EOS, PAD = 40, 1, 0


def model_of(family: str, seed: int, sharpness: float = 12.0) -> Any:
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "bos_token_id": None,
    }
    model: Any
    if family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    else:
        model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(10)
        model.lm_head.weight.mul_(sharpness)
        model.lm_head.weight[EOS].mul_(1.6)  # so that many texts end
    return model.eval()


def random_prompts(num: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, VOCAB, rng.integers(1, 12)).tolist() for _ in range(num)]


def by_transformers(model: Any, prompts: list[list[int]], *, beam: int, max_new: int) -> list[list[int]]:
    longest = max(len(prompt) for prompt in prompts)
    tokens = torch.tensor([[PAD] * (longest - len(prompt)) + prompt for prompt in prompts])
    lengths = torch.tensor([[len(prompt)] for prompt in prompts])
    # transformers' own name for beam search that never drops a better continuation
    canonical = {"early_stopping": "never", "length_penalty": 0.0} if beam > 1 else {}
    output = model.generate(
        input_ids=tokens,
        attention_mask=(torch.arange(longest) >= longest - lengths).long(),
        num_beams=beam,
        do_sample=False,
        max_new_tokens=max_new,
        **canonical,
    )
    rows = output[:, longest:].tolist()
    return [row[: row.index(EOS)] if EOS in row else row[:max_new] for row in rows]


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("beam", [1, 2, 4])
def test_equals_transformers_generate(family: str, beam: int) -> None:
    prompts, lengths = random_prompts(24), set()
    for seed in range(3):
        model = model_of(family, seed)
        result = generate(model, prompts, eos=EOS, max_new=10, beam=beam, batch=24)
        assert result == by_transformers(model, prompts, beam=beam, max_new=10)
        lengths |= {len(tokens) for tokens in result}
    assert len(lengths) > 3  # some end early, some are cut
    assert 10 in lengths


def test_a_beam_as_wide_as_the_tree_finds_the_best_of_all_continuations() -> None:
    model, max_new = model_of("llama", 7, 3.0), 2
    prompt = [5, 9, 3]
    result = generate(model, [prompt], eos=EOS, max_new=max_new, beam=VOCAB)
    best: tuple[float, list[int]] = (-np.inf, [])
    with torch.no_grad():
        first = model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1)
        best = max(best, (float(first[EOS]), []))
        for token in (token for token in range(VOCAB) if token != EOS):
            second = model(torch.tensor([[*prompt, token]])).logits[0, -1].double().log_softmax(-1)
            for last in range(VOCAB):
                text = [token] if last == EOS else [token, last]
                best = max(best, (float(first[token] + second[last]), text))
    assert result == [best[1]]


@pytest.mark.parametrize("beam", [1, 3])
def test_continuations_do_not_depend_on_the_batch(beam: int) -> None:
    model, prompts = model_of("llama", 3), random_prompts(9)
    done: list[int] = []
    together = generate(model, prompts, eos=EOS, max_new=8, beam=beam, batch=4, progress=done.append)
    assert done == [4, 8, 9]
    assert together == [
        generate(model, [prompt], eos=EOS, max_new=8, beam=beam, batch=1)[0] for prompt in prompts
    ]


def test_one_new_token_is_the_likeliest_and_an_immediate_end_is_empty() -> None:
    model, prompts = model_of("llama", 4), random_prompts(12)
    with torch.no_grad():
        likeliest = [int(model(torch.tensor([prompt])).logits[0, -1].argmax()) for prompt in prompts]
    assert EOS in likeliest
    expected = [[] if token == EOS else [token] for token in likeliest]
    assert generate(model, prompts, eos=EOS, max_new=1) == expected
    assert generate(model, prompts, eos=VOCAB, max_new=1) == [[token] for token in likeliest]


def test_a_model_that_predicts_nan_is_refused() -> None:
    model = model_of("llama", 0)
    with torch.no_grad():
        model.lm_head.weight[5] = torch.nan
    with pytest.raises(CheckError, match="not numbers"):
        generate(model, random_prompts(2), eos=EOS, max_new=3)


def test_prompts_may_hold_ids_beyond_the_vocabulary_where_a_hook_replaces_them() -> None:
    model, prompts = model_of("llama", 5), random_prompts(4)
    expected = generate(model, prompts, eos=EOS, max_new=6, beam=2)
    shifted = [[token + VOCAB for token in prompt] for prompt in prompts]

    def back(_module: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (inputs[0] % VOCAB,)

    with model.get_input_embeddings().register_forward_pre_hook(back):
        assert generate(model, shifted, eos=EOS, max_new=6, beam=2) == expected


def test_a_beam_of_one_over_the_trie_is_greedy_decoding_of_an_item() -> None:
    rng = np.random.default_rng(0)
    texts = {(*rng.integers(2, VOCAB, rng.integers(1, 5)).tolist(), EOS): None for _ in range(80)}
    identifiers = [list(text) for text in texts]
    trie, model, prompts = Trie.build(identifiers), model_of("llama", 6), random_prompts(8)
    result = search_beam(model, trie, prompts, width=1, k=1, tie=np.arange(len(identifiers)))
    for prompt, item, score in zip(prompts, result.items[:, 0], result.scores[:, 0], strict=True):
        node, tokens, total = 0, list(prompt), 0.0
        while trie.num_children[node]:
            with torch.no_grad():
                log_probs = model(torch.tensor([tokens])).logits[0, -1].double().log_softmax(-1)
            below = trie.children(node)
            node = int(below[int(log_probs[trie.token[below]].argmax())])
            total += float(log_probs[trie.token[node]])
            tokens.append(int(trie.token[node]))
        assert identifiers[item] == tokens[len(prompt) :]
        assert score == pytest.approx(total, abs=1e-4)
