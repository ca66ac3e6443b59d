"""Models of a shape with random weights, and the seconds of optimiser steps of a method on them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, Qwen2Config
from transformers.utils import logging

from recbench.base.progress import Silent
from recbench.llm.model import backbone as backbones
from recbench.llm.model import policy as policies
from recbench.method import LLMRun
from recbench.planning.resolve import Selection, resolve
from recbench.testing import toy_data, toy_run

SHAPES: dict[str, Callable[[], PretrainedConfig]] = {
    "toy": lambda: Qwen2Config(
        vocab_size=2048,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
    ),
    "llama-256x8": lambda: LlamaConfig(  # for a CPU: the head's share is about that of an 8B model
        vocab_size=8192,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=4,
    ),
    "smollm2-256x8": lambda: (
        LlamaConfig(  # SmolLM2's vocabulary over a small body: more head than in any model
            vocab_size=49152,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=8,
            num_attention_heads=4,
            num_key_value_heads=4,
            tie_word_embeddings=True,
        )
    ),
    "smollm2-135m": lambda: LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    ),
    "qwen2-0.5b": lambda: Qwen2Config(
        vocab_size=151936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "llama-3.2-1b": lambda: LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
    ),
    "llama-3.1-8b": lambda: LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    ),
}


def quiet() -> None:
    """Keep transformers' progress bars and advice out of a table."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def precision(device: str) -> torch.dtype:
    return torch.bfloat16 if device == "cuda" else torch.float32


def random_model(shape: str, device: str, **changed: Any) -> Any:
    """A model of the shape, with other settings where they are `changed`, and weights drawn on the device."""
    torch.manual_seed(0)
    config = SHAPES[shape]()
    config.update(changed)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(
            config, dtype=precision(device), attn_implementation="sdpa"
        ).eval()


def clock(device: str) -> float:
    """Seconds so far: of this process's work on a CPU, which others share, and of a GPU's when it is done."""
    wait(device)
    return time.perf_counter() if device == "cuda" else time.process_time()


class Timed(Silent):
    """Seconds of optimiser steps, and what was counted."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.at: list[float] = []
        self.counts: dict[str, int] = {}

    def progress(self, stage: str, done: int, total: int) -> None:
        del done, total
        if stage == "training":
            self.at.append(clock(self.device))

    def count(self, **values: int) -> None:
        for name, value in values.items():
            self.counts[name] = self.counts.get(name, 0) + value

    @property
    def step(self) -> float:
        """The median, without the first two."""
        return float(np.median(np.diff(self.at)[1:]))


def settings(
    method: str, backbone: str, folder: Path, timed: Timed, *, batch: int, micro: int = 0, steps: int = 8
) -> LLMRun:
    """A run of the method's recipe, on the same rows for every method, that lasts some steps."""
    amounts = {"train.epochs": "1", "train.max_rows": str(steps * batch), "train.batch": str(batch)}
    amounts["train.micro_batch"] = str(micro)
    amounts |= {"train.precision": "bf16" if timed.device == "cuda" else "fp32", "train.checkpoints": "1"}
    llm = resolve(Selection(method=method, dataset="synthetic", backbone=backbone, settings=amounts)).llm
    assert llm is not None
    return replace(toy_run(folder / "fit", llm=llm), device=timed.device, report=timed)


@contextmanager
def backbone_of(shape: str, device: str, folder: Path, *, num_items: int = 2000) -> Iterator[str]:
    """The name of a backbone of the shape whose weights are drawn where they are needed, not read."""
    folder.mkdir()
    SHAPES[shape]().save_pretrained(folder)
    titles = toy_data(num_items=num_items).catalogue.titles
    backbones.new_tokenizer(titles, merges=400).save_pretrained(folder)
    with mock.patch.object(policies, "_pretrained", side_effect=lambda *_: random_model(shape, device)):
        yield str(folder)
