"""The pair losses beside trl's: its own trainer on a batch of its own collator, with a separate reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from datasets import Dataset
from recbench.llm.losses import pairs as losses
from recbench.llm.losses import preference, tokens
from recbench.llm.losses.pairs import PairBatch, Reduce
from tests.unit.llm.losses.conftest import rosepo

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


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
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
        processing_class=tokenizer(),
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


def one_rejected(trainer: Any, batch: Any, *, unrelated: Tensor | None = None) -> PairBatch:
    """The batch as ours, with one rejected response of each chosen one."""
    pi_w, pi_l, ref_w, ref_l = pairs(trainer, batch)
    len_w, len_l = batch["completion_mask"].sum(1).chunk(2)
    assert (len_w != len_l).all()
    return PairBatch(
        pi_w=pi_w,
        pi_l=pi_l[:, None],
        mask=torch.ones(len(pi_w), 1, dtype=torch.bool),
        len_w=len_w,
        len_l=len_l[:, None],
        example=torch.arange(len(pi_w)),
        rejected=torch.zeros(len(pi_w), 1, dtype=torch.int64),
        reference=(ref_w, ref_l[:, None]),
        unrelated=unrelated,
    )


@pytest.mark.parametrize("reduce", ["softmax", "pairs"])
def test_normalised_dpo_equals_trl(trainer: Any, reduce: Reduce) -> None:
    batch = batch_of(trainer, slice(3))
    ours = losses.dpo_norm(one_rejected(trainer, batch), BETA, reduce)
    assert ours.item() == pytest.approx(theirs(trainer, "sigmoid_norm", 0.0, batch), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "loss"), [("ipo", losses.ipo), ("apo_zero", losses.apo_zero), ("sppo_hard", losses.sppo_hard)]
)
def test_losses_of_another_shape_equal_trl(trainer: Any, kind: str, loss: Callable[..., Tensor]) -> None:
    batch = batch_of(trainer, slice(3))
    ours = loss(one_rejected(trainer, batch), BETA)
    assert ours.item() == pytest.approx(theirs(trainer, kind, 0.0, batch), rel=1e-5)


def test_smoothed_pairs_equal_trl(trainer: Any) -> None:
    batch = batch_of(trainer, slice(3))
    ours = one_rejected(trainer, batch)
    robust = losses.smoothed_dpo(ours, BETA, SMOOTHING, "robust")
    assert robust.item() == pytest.approx(theirs(trainer, "robust", SMOOTHING, batch), rel=1e-5)
    settings = of_cpo(loss_type="sigmoid", label_smoothing=SMOOTHING)
    each, _, _ = CPOTrainer.cpo_loss(settings, ours.rho_w, ours.rho_l[:, 0])
    torch.testing.assert_close(losses.smoothed_dpo(ours, BETA, SMOOTHING, "conservative"), each.mean())


def of_cpo(**settings: Any) -> Any:
    """What trl's CPO loss reads of its trainer."""
    given = {"alpha": 0.0, "beta": BETA, "label_smoothing": 0.0, **settings}
    return SimpleNamespace(**given, accelerator=SimpleNamespace(device="cpu"))


@pytest.mark.parametrize("reduce", ["softmax", "pairs"])
def test_losses_without_a_reference_equal_trl(trainer: Any, reduce: Reduce) -> None:
    ours = replace(one_rejected(trainer, batch_of(trainer, slice(3))), reference=None)
    each, _, _ = CPOTrainer.cpo_loss(of_cpo(loss_type="sigmoid"), ours.pi_w, ours.pi_l[:, 0])
    torch.testing.assert_close(losses.cpo(ours, BETA, reduce), each.mean())
    means = ours.pi_w / ours.len_w, ours.pi_l[:, 0] / ours.len_l[:, 0]
    each, _, _ = CPOTrainer.cpo_loss(of_cpo(loss_type="simpo", simpo_gamma=0.4), *means)
    torch.testing.assert_close(losses.simpo(ours, BETA, 0.4, reduce), each.mean())
    ratio, *_ = ORPOTrainer.odds_ratio_loss(of_cpo(), *means)
    torch.testing.assert_close(losses.orpo(ours, reduce), -ratio.mean() / BETA)


def test_kto_equals_trl(trainer: Any, tmp_path: Path) -> None:
    """Its batch: chosen responses, then rejected ones, each row also with the response before it in its half
    of the batch, read after its own prompt."""
    batch = batch_of(trainer, slice(3))
    prompts = [row["prompt"] for row in ROWS]
    rows = [
        {"prompt": prompt, "completion": row[kind], "label": kind == "chosen"}
        for kind in ("chosen", "rejected")
        for prompt, row in zip(prompts, ROWS, strict=True)
    ]
    other = KTOTrainer(
        model=small_llama(0),  # its own: a trainer changes the forward pass of its model
        ref_model=small_llama(1),
        args=KTOConfig(
            output_dir=str(tmp_path),
            beta=BETA,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            max_length=None,
            report_to=[],
            per_device_train_batch_size=6,
            desirable_weight=1.2,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(),
    )
    examples = list(other.train_dataset)
    for index, example in enumerate(examples):  # a shift of the chosen responses, in either half
        before = examples[(index % 3 - 1) % 3]
        example["KL_completion_ids"] = before["completion_ids"]
    theirs = other.data_collator(examples)
    wanted = other.compute_loss(other.model.eval(), theirs)
    strangers = {
        "input_ids": theirs["KL_input_ids"],
        "attention_mask": theirs["KL_attention_mask"],
        "completion_mask": theirs["KL_completion_mask"],
    }
    drift = torch.cat(summed(trainer.model, strangers)) - torch.cat(summed(trainer.ref_model, strangers))
    assert drift.mean() != 0
    ours = one_rejected(trainer, batch, unrelated=drift.mean())
    loss = losses.kto(ours, BETA, lambda_w=1.2)
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-5)


def test_dpo_equals_trl(trainer: Any) -> None:
    batch = batch_of(trainer, slice(3))
    ours = preference.dpo(*pairs(trainer, batch), BETA).loss
    assert ours.item() == pytest.approx(theirs(trainer, "sigmoid", 0.0, batch), abs=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, SMOOTHING, 0.45])
def test_robust_form_equals_trl(trainer: Any, epsilon: float) -> None:
    batch = batch_of(trainer, slice(3))
    ours = rosepo(*pairs(trainer, batch), BETA, torch.full((3,), epsilon), "robust")
    assert ours.item() == pytest.approx(theirs(trainer, "robust", epsilon, batch), rel=1e-5)


@pytest.mark.parametrize("row", range(3))
def test_conservative_form_equals_trl_where_sorting_a_batch_changes_nothing(trainer: Any, row: int) -> None:
    """trl's DPO trainer smooths this way only in `aot`, which sorts the batch; one pair is sorted."""
    batch = batch_of(trainer, slice(row, row + 1))
    ours = rosepo(*pairs(trainer, batch), BETA, torch.full((1,), SMOOTHING))
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
    ours = rosepo(pi_w, pi_l, ref_w, ref_l, BETA, torch.full((3,), SMOOTHING))
    torch.testing.assert_close(ours, each.mean())
