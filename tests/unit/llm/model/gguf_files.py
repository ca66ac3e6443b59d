"""Write small GGUF files as llama.cpp's converter does: a Llama, its tokenizer, or parts of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from recbench.llm.model.backbone import new_tokenizer

LAYERS, HEADS, WIDTH = 2, 4, 32
CHAT = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}[assistant]"
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def small_llama() -> tuple[Any, Any]:
    """A random Llama with tied embeddings, and its tokenizer."""
    tokenizer = new_tokenizer(["red lamp", "old boat", "Codes of the items chosen so far"], merges=64)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config), tokenizer


def write_gguf(
    path: Path,
    model: Any,
    tokenizer: Any,
    *,
    architecture: str = "llama",
    with_tokenizer: bool = True,
    chat_template: str | None = None,
    without: str = "",
) -> Path:
    """Skips the test where the library is not installed.

    `without`: the start of the names of tensors that are left out.
    """
    gguf = pytest.importorskip("gguf", reason="writes a GGUF file: pip install gguf")
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("small")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if with_tokenizer:
        state = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        special = set(tokenizer.all_special_tokens)
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types([3 if token in special else 1 for token in tokens])
        writer.add_token_merges([" ".join(merge) for merge in state["merges"]])
        writer.add_bos_token_id(tokenizer.bos_token_id)
        writer.add_eos_token_id(tokenizer.eos_token_id)
        writer.add_pad_token_id(tokenizer.pad_token_id)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight" and not (without and _name(name).startswith(without)):
            writer.add_tensor(_name(name), _values(name, weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _name(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def _values(name: str, weight: torch.Tensor) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = weight.float().numpy()
    if "q_proj" in name or "k_proj" in name:  # llama.cpp rotates neighbouring pairs
        shape = values.shape
        values = values.reshape(HEADS, 2, shape[0] // HEADS // 2, shape[1]).swapaxes(1, 2).reshape(shape)
    return np.ascontiguousarray(values)
