"""Tree masks: which models take them, and the logits that they give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

from recbench.errors import UsageError
from recbench.llm.model.attention import check_tree_attention, tree_mask, visible_nodes
from recbench.llm.training.pack import prefix_tree
from tests.unit.llm.conftest import SMALL, codes, llama, random_prompts, search


def backbone_with(kind: str) -> Any:
    grouped = {**SMALL, "num_key_value_heads": 2, "intermediate_size": 64}
    if kind == "layers with a window":
        return Qwen2ForCausalLM(
            Qwen2Config(**grouped, use_sliding_window=True, sliding_window=4, max_window_layers=1)
        )
    if kind == "a window in every layer":
        return MistralForCausalLM(MistralConfig(**grouped, sliding_window=4))
    model = llama(0)
    model.config._attn_implementation = "flash_attention_2"  # as it is where flash-attn is installed
    return model


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("layers with a window", "sliding_attention"),
        ("a window in every layer", "sliding_attention"),
        ("flash attention", "flash_attention_2"),
    ],
)
def test_models_that_cannot_take_a_tree_mask_are_refused(kind: str, named: str) -> None:
    model = backbone_with(kind)
    with pytest.raises(UsageError, match=named):
        check_tree_attention(model)
    with pytest.raises(UsageError, match=named):
        search(model, codes(10), random_prompts(1))


def test_models_that_see_the_whole_prompt_take_a_tree_mask() -> None:
    grouped = {**SMALL, "num_key_value_heads": 2, "intermediate_size": 64}
    check_tree_attention(llama(0))
    check_tree_attention(Qwen2ForCausalLM(Qwen2Config(**grouped, sliding_window=4)))  # not switched on
    check_tree_attention(MistralForCausalLM(MistralConfig(**grouped, sliding_window=None)))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_packed_tree_gives_each_branch_the_logits_that_it_has_alone(implementation: str) -> None:
    model = llama(0)
    model.set_attn_implementation(implementation)
    texts = [[5, 6, 7, 8, 9, 10], [5, 6, 7, 20, 21, 22], [5, 6, 7, 20, 30]]
    row = prefix_tree([(text, 4) for text in texts])
    assert not row.is_chain
    visible = visible_nodes(torch.from_numpy(row.end)[None])
    assert visible[0, 0].tolist() == row.mask().tolist()
    with torch.no_grad():
        packed = model(
            input_ids=torch.from_numpy(row.input_ids)[None],
            position_ids=torch.from_numpy(row.position)[None],
            attention_mask=tree_mask(model, visible),
        ).logits[0, torch.from_numpy(row.predictor)]
        alone = [model(input_ids=torch.tensor([text])).logits[0, 3:-1] for text in texts]
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-4, rtol=0)
