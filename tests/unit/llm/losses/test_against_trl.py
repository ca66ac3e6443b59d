"""The pair losses beside trl's: its own trainer on a batch of its own collator, with a separate reference."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOTrainer

from datasets import Dataset
from recbench.llm.losses import preference, tokens

WORDS = ["<pad>", "</s>", "<unk>", *"abcdefghijklm"]
ROWS = [
    {"prompt": "a b c", "chosen": " d e", "rejected": " f g h i"},
    {"prompt": "b", "chosen": " j k l", "rejected": " m"},
    {"prompt": "c d e f g", "chosen": " h", "rejected": " a b"},
]
BETA, SMOOTHING = 0.7, 0.2


def small_llama(seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.5,  # wide, so that policy and reference differ by nats
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    words = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    folder: Path = tmp_path_factory.mktemp("trl")
    return DPOTrainer(
        model=small_llama(0),
        ref_model=small_llama(1),
        args=DPOConfig(
            output_dir=str(folder),
            beta=BETA,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            max_length=None,
            report_to=[],
        ),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        ),
    )


def batch_of(trainer: Any, rows: slice) -> Any:
    return trainer.data_collator([trainer.train_dataset[row] for row in range(len(ROWS))[rows]])


def summed(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the chosen and of the rejected responses, from the batch's plain logits."""
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    row, position = batch["completion_mask"].nonzero(as_tuple=True)
    logp = tokens.token_logp(logits[row, position - 1], batch["input_ids"][row, position])
    chosen, rejected = tokens.sequence_logp(logp, row, len(batch["input_ids"])).chunk(2)
    return chosen, rejected


def theirs(trainer: Any, kind: str, smoothing: float, batch: Any) -> float:
    trainer.loss_types, trainer.label_smoothing = [kind], smoothing
    loss: Tensor = trainer.compute_loss(trainer.model.eval(), batch)
    return loss.item()


def pairs(trainer: Any, batch: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    pi_w, pi_l = summed(trainer.model, batch)
    ref_w, ref_l = summed(trainer.ref_model, batch)
    assert (pi_w - ref_w).abs().min() > 0.1
    return pi_w, pi_l, ref_w, ref_l


def test_dpo_equals_trl(trainer: Any) -> None:
    batch = batch_of(trainer, slice(3))
    ours = preference.dpo(*pairs(trainer, batch), BETA).loss
    assert ours.item() == pytest.approx(theirs(trainer, "sigmoid", 0.0, batch), abs=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, SMOOTHING, 0.45])
def test_robust_form_equals_trl(trainer: Any, epsilon: float) -> None:
    batch = batch_of(trainer, slice(3))
    ours = preference.rosepo(*pairs(trainer, batch), BETA, torch.full((3,), epsilon), "robust").loss
    assert ours.item() == pytest.approx(theirs(trainer, "robust", epsilon, batch), rel=1e-5)


@pytest.mark.parametrize("row", range(3))
def test_conservative_form_equals_trl_where_sorting_a_batch_changes_nothing(trainer: Any, row: int) -> None:
    """trl's DPO trainer smooths this way only in `aot`, which sorts the batch; one pair is sorted."""
    batch = batch_of(trainer, slice(row, row + 1))
    ours = preference.rosepo(*pairs(trainer, batch), BETA, torch.full((1,), SMOOTHING)).loss
    assert ours.item() == pytest.approx(theirs(trainer, "aot", SMOOTHING, batch), abs=1e-5)


def test_conservative_form_of_a_batch_equals_trls_without_a_reference(trainer: Any) -> None:
    """trl's CPO loss smooths a whole batch and knows no reference; it is given the log-ratios instead."""
    pi_w, pi_l, ref_w, ref_l = pairs(trainer, batch_of(trainer, slice(3)))
    settings = SimpleNamespace(
        alpha=0.0,
        beta=BETA,
        loss_type="sigmoid",
        label_smoothing=SMOOTHING,
        accelerator=SimpleNamespace(device="cpu"),
    )
    each, _, _ = CPOTrainer.cpo_loss(settings, pi_w - ref_w, pi_l - ref_l)
    ours = preference.rosepo(pi_w, pi_l, ref_w, ref_l, BETA, torch.full((3,), SMOOTHING)).loss
    torch.testing.assert_close(ours, each.mean())
