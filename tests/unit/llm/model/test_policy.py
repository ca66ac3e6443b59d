"""Starting, saving and restoring policies, on the tiny backbone and on small random pretrained-like ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2ForCausalLM

from recbench.errors import MissingError
from recbench.llm.model import policy as policies
from recbench.llm.model.backbone import add_lora, locate
from recbench.llm.model.policy import Policy
from recbench.llm.training.examples import next_item
from recbench.llm.training.likelihood import TokenCrossEntropy
from recbench.llm.training.trainer import train
from recbench.settings import SCRATCH, LLMSettings, TrainSettings
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec

SaveBackbone = Callable[..., str]


def logps(policy: Policy) -> torch.Tensor:
    policy.model.eval()
    with torch.no_grad():
        ids = policy.prompts.prompt([1, 2, 3]) + policy.prompts.response(4)
        values: torch.Tensor = policy.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    return values


def first_code(policy: Policy) -> int:
    """Tokens from this one on were added by us."""
    return min(policy.prompts.identifiers[item][0] for item in range(30))


def fit_briefly(folder: Path, llm: LLMSettings) -> tuple[Policy, torch.Tensor]:
    run = toy_run(folder, llm=llm)
    policy = policies.start(toy_data(), run)
    before = logps(policy)
    rows = next_item(policy.prompts, toy_data(), run).rows
    train(policy, rows, TokenCrossEntropy(), settings=llm.train, run=run)
    policy.save(folder / "model")
    return policy, before


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
def test_a_lora_fit_restores_to_the_same_log_probabilities(
    tmp_path: Path, save_backbone: SaveBackbone, architecture: str, tied: bool
) -> None:
    backbone = save_backbone(architecture=architecture, tied=tied)
    llm = tiny_settings(backbone=backbone, lora_rank=4, epochs=2.0, batch=8, pack="user")
    policy, before = fit_briefly(tmp_path / "fit", llm)
    restored = policies.restore(toy_data(), toy_run(tmp_path / "fit", llm=llm))
    assert torch.allclose(logps(restored), logps(policy), atol=1e-4)
    assert (logps(policy) - before).abs().max() > 0.1  # it did train


@pytest.mark.parametrize("tied", [True, False])
def test_lora_trains_the_rows_of_added_codes_and_leaves_the_base_rows_alone(
    tmp_path: Path, save_backbone: SaveBackbone, tied: bool
) -> None:
    backbone = save_backbone(architecture="qwen2", tied=tied)
    llm = tiny_settings(backbone=backbone, lora_rank=4, epochs=2.0, batch=8, pack="user")
    run = toy_run(tmp_path / "fit", llm=llm)
    start = policies.start(toy_data(), run)
    before = start.model.get_input_embeddings()(torch.arange(len(start.tokenizer))).detach().clone()
    policy, _ = fit_briefly(tmp_path / "fit", llm)
    after = policy.model.get_input_embeddings()(torch.arange(len(policy.tokenizer))).detach()
    base = first_code(policy)
    assert torch.equal(before[:base], after[:base])
    assert bool(((before[base:] - after[base:]).abs().sum(1) > 0).all())


def test_full_training_restores_to_the_same_log_probabilities(tmp_path: Path) -> None:
    llm = tiny_settings(epochs=2.0, batch=8)
    policy, _ = fit_briefly(tmp_path / "fit", llm)
    restored = policies.restore(toy_data(), toy_run(tmp_path / "fit", llm=llm))
    assert torch.allclose(logps(restored), logps(policy), atol=1e-4)


def test_tied_embeddings_are_still_one_tensor_after_codes_were_added_and_restored(
    tmp_path: Path, save_backbone: SaveBackbone
) -> None:
    backbone = save_backbone(architecture="llama", tied=True)
    llm = tiny_settings(backbone=backbone, lora_rank=0, epochs=1.0)
    policy, _ = fit_briefly(tmp_path / "fit", llm)
    restored = policies.restore(toy_data(), toy_run(tmp_path / "fit", llm=llm))
    for model in (policy.model, restored.model):
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert torch.allclose(logps(restored), logps(policy), atol=1e-4)


def test_new_code_rows_start_near_the_mean_of_the_old_ones(
    tmp_path: Path, save_backbone: SaveBackbone
) -> None:
    backbone = save_backbone(architecture="llama", tied=False)
    llm = tiny_settings(backbone=backbone, lora_rank=0)
    policy = policies.start(toy_data(), toy_run(tmp_path / "fit", llm=llm))
    base = first_code(policy)
    for weight in (policy.model.get_input_embeddings().weight, policy.model.get_output_embeddings().weight):
        distance = (weight[base:] - weight[:base].mean(0)).detach().norm(dim=1)
        assert distance.max() < weight[:base].detach().norm(dim=1).mean()


def test_codes_that_fall_on_a_backbones_spare_rows_start_at_the_mean_too(
    tmp_path: Path, save_backbone: SaveBackbone
) -> None:
    folder = Path(save_backbone(architecture="qwen2", tied=False))
    model = Qwen2ForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(500, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[300:] = 100.0  # what a spare row holds is nobody's business
    model.save_pretrained(folder)
    llm = tiny_settings(backbone=str(folder), lora_rank=0)
    policy = policies.start(toy_data(), toy_run(tmp_path / "fit", llm=llm))
    weight = policy.model.get_input_embeddings().weight
    assert weight.shape[0] == 500
    assert weight[first_code(policy) : len(policy.tokenizer)].abs().max() < 1.0


def test_a_fit_keeps_the_identifiers_that_it_was_trained_on(tmp_path: Path) -> None:
    llm = tiny_settings(epochs=1.0)
    policy, _ = fit_briefly(tmp_path / "fit", llm)
    shutil.rmtree(tmp_path / "stages")
    restored = policies.restore(toy_data(), toy_run(tmp_path / "fit", llm=llm))
    assert restored.prompts.digest == policy.prompts.digest
    assert not (tmp_path / "stages").exists()


def test_the_seed_decides_the_first_weights_and_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    llm = tiny_settings()
    policy = [policies.start(toy_data(), toy_run(tmp_path / "fit", seed=seed, llm=llm)) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(logps(policy[0]), logps(policy[1]))
    assert not torch.equal(logps(policy[0]), logps(policy[2]))


def test_the_backbones_from_scratch_differ_in_size_and_content(tmp_path: Path) -> None:
    started = {
        name: policies.start(toy_data(), toy_run(tmp_path / name, llm=tiny_settings(backbone=name)))
        for name in SCRATCH
    }
    sizes = {name: policy.num_parameters["all"] for name, policy in started.items()}
    assert sizes["tiny"] < 1e6
    assert 5e6 <= sizes["small"] <= 10e6
    assert len(started["small"].model.model.layers) >= 6
    assert len(started["tiny"].model.model.layers) >= ILRec().k + 1
    assert locate("tiny").digest != locate("small").digest


def test_starting_a_tiny_policy_seeds_no_generator_of_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    policies.start(toy_data(), toy_run(tmp_path / "fit", llm=tiny_settings()))
    assert seeds == []


def test_the_seed_decides_the_adapters_of_lora_whatever_was_drawn_before(
    tmp_path: Path, save_backbone: SaveBackbone
) -> None:
    llm = tiny_settings(backbone=save_backbone(), lora_rank=4)

    def adapters(seed: int) -> torch.Tensor:
        policy = policies.start(toy_data(), toy_run(tmp_path / "fit", seed=seed, llm=llm))
        named = policy.model.named_parameters()
        return torch.cat([weight.detach().flatten() for name, weight in named if "lora_A" in name])

    first = adapters(0)
    torch.rand(1)
    assert torch.equal(first, adapters(0))
    assert not torch.equal(first, adapters(1))


def test_lora_draws_the_same_adapters_for_a_model_on_another_device() -> None:
    def drawn(device: str) -> list[torch.Tensor]:
        found = []
        draw = torch.nn.init.kaiming_uniform_

        def kept(weight: torch.Tensor, *words: Any, **named: Any) -> torch.Tensor:
            found.append(draw(weight, *words, **named).clone())
            return weight

        with torch.device(device):
            model = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1))
        with mock.patch("torch.nn.init.kaiming_uniform_", kept):
            adapted = add_lora(model, TrainSettings(), [1, 2], seed=0)
        assert {weight.device.type for weight in adapted.parameters()} == {device}
        return found

    here, there = drawn("cpu"), drawn("meta")
    assert len(here) == len(there) > 7
    assert all(torch.equal(one, other) for one, other in zip(here, there, strict=True))


def test_a_backbone_is_identified_by_its_files(save_backbone: SaveBackbone) -> None:
    folder = Path(save_backbone(architecture="llama", tied=True))
    first = locate(str(folder))
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config + "\n")
    assert locate(str(folder)).digest != first.digest
    assert first.path == folder


def test_a_backbone_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not on this machine") as error:
        locate("nobody/no-such-model")
    assert "hf download nobody/no-such-model" in error.value.fix
    with pytest.raises(MissingError, match="not a Hugging Face model"):
        locate(str(tmp_path))
