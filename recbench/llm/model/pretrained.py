"""Read a pretrained model and its tokenizer from a Hugging Face folder; make such a folder of a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbench.base.weights import gguf
from recbench.errors import MissingError, UsageError
from recbench.llm.model.backbone import Backbone
from recbench.stages import StageCache


def dense_folder(backbone: Backbone, stages: StageCache) -> Path:
    """The folder of a pretrained backbone.

    A GGUF file is read once, into a shared folder: its blocks become plain weights in fp32, which are read in
    a second where the file takes half a minute. Raises UsageError if transformers does not read the file.
    """
    if not gguf.names_file(backbone.name):
        return backbone.weights
    import transformers

    spec = {"gguf": backbone.digest, "transformers": transformers.__version__}
    return stages.get("backbone", spec, lambda folder: _unpack(backbone.weights, folder))


def _unpack(file: Path, folder: Path) -> None:
    import torch
    import transformers

    source: dict[str, Any] = {
        "pretrained_model_name_or_path": file.parent,
        "gguf_file": file.name,
        "local_files_only": True,
    }
    dense: dict[str, Any] = {"dtype": torch.float32}
    if hasattr(transformers, "GgufConfig"):
        # by default newer versions compute with the blocks where they find kernels for the device
        dense["quantization_config"] = transformers.GgufConfig(dequantize=True)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
        model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
            **source, **dense, output_loading_info=True
        )
    except MemoryError:
        raise
    except Exception as error:  # transformers raises many kinds for a file that it does not read
        raise UsageError(
            f"transformers does not read {file}, a GGUF file of the architecture "
            f"'{gguf.read_header(file).architecture}'",
            why=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            fix="name a GGUF file of a Llama, Mistral or Qwen, or a folder; if it is one, get it again",
        ) from error
    _refuse_missing(file, loaded)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def pretrained_tokenizer(folder: Path) -> Any:
    """The tokenizer in `folder`, padding by its end of sequence if it has no padding token.

    Raises UsageError if it has no end-of-sequence token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.eos_token_id is None:
        raise UsageError(f"the tokenizer in {folder} has no end-of-sequence token", why="responses end in it")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def pretrained_model(folder: Path, *, precision: str, device: str) -> Any:
    """The causal LM in `folder`, its weights in `precision` (`fp32` or `bf16`).

    How others would sample from it (`generation_config.json`) is left out. Raises MissingError where a tensor
    of the model is not in the folder.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model, loaded = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, local_files_only=True, output_loading_info=True
    )
    _refuse_missing(folder, loaded)
    # else a policy could not be saved where its settings contradict each other
    model.generation_config = GenerationConfig()
    return model.to(device)


def _refuse_missing(weights: Path, loaded: dict[str, Any]) -> None:
    """transformers starts tensors that are not there at random, and goes on."""
    missing = sorted(loaded["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise MissingError(f"the weights in {weights} are incomplete", why=f"not there: {missing[0]}{more}")
