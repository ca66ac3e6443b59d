"""Language models and tokenizers: those trained from scratch, and pretrained ones by id or folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from recbench.base import digest
from recbench.base.hub import in_cache
from recbench.errors import MissingError, UsageError
from recbench.settings import BACKBONES, Paradigm, TrainSettings, backbone_class

VERSION = 1
# `tiny` is too narrow for the usual initial deviation of 0.02: attention stays uniform for hundreds of steps.
# 0.08 and untied embeddings learn faster; the trials are in benchmarks/tuning/tiny-ml-100k.jsonl.
LLAMA = {"max_position_embeddings": 2048, "rope_theta": 10000.0, "tie_word_embeddings": False}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {
        **LLAMA,
        "hidden_size": 64,
        "intermediate_size": 176,
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
BOS, EOS, PAD = "<s>", "</s>", "<pad>"


@dataclass(frozen=True, slots=True)
class Backbone:
    """A backbone's weights: where they are, and a digest of their content."""

    name: str
    folder: Path | None  # None for a model that is trained from scratch
    digest: str

    @property
    def weights(self) -> Path:
        """The folder of a pretrained backbone."""
        assert self.folder is not None, f"{self.name} has no pretrained weights"
        return self.folder


def locate(name: str) -> Backbone:
    """Resolve a backbone's name to its files on this machine, without a request to the hub.

    A local folder is identified by its files' bytes, a Hugging Face id by its commit. Raises MissingError if
    the files are not on this machine.
    """
    if backbone_class(name) == "scratch":
        shape = dict(SHAPES[name])
        return Backbone(
            name, None, digest.of_json({"shape": shape, "merges": dict(MERGES), "version": VERSION})
        )
    folder = Path(name).expanduser()
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
    """Download the newest files of a Hugging Face id into the cache; without the hub, keep those in it.

    Raises MissingError if there are none.
    """
    if backbone_class(name) == "scratch" or Path(name).expanduser().is_dir():
        return
    from huggingface_hub import snapshot_download

    repository = BACKBONES.get(name, name)
    try:
        snapshot_download(repository)
    except Exception as error:  # every hub failure means the same to the user: no weights
        raise MissingError(
            f"backbone '{name}' ({repository}) is not on this machine and cannot be fetched",
            why=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            fix=_how_to_get(repository),
        ) from None


def _how_to_get(repository: str) -> str:
    return f"hf download {repository}, or name a local folder; recbench list backbones"


def _folder_digest(folder: Path) -> str:
    names = ("*.safetensors", "*.bin", "*.json", "*.model", "*.txt")
    files = sorted({path for pattern in names for path in folder.glob(pattern)})
    stats = [path.stat() for path in files]
    return _files_digest(tuple(files), tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


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
    """The causal LM in `folder`, its weights in `precision` (`fp32` or `bf16`)."""
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).to(device)


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

    The adapters start from `seed`, without touching the global generator.
    """
    from peft import LoraConfig, get_peft_model

    from recbench.sequential.randomness import own_randomness

    device = model.device
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        trainable_token_indices=_trainable_rows(model, new_tokens) if new_tokens else None,
    )
    with own_randomness(seed, "cpu"):
        return get_peft_model(model.cpu(), config).to(device)


def _trainable_rows(model: Any, new_tokens: Sequence[int]) -> dict[str, list[int]]:
    """`new_tokens` by embedding module: the input's, and the output's unless both are one tensor."""
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    rows = {names[id(embedding)]: list(new_tokens)}
    if head.weight is not embedding.weight:
        rows[names[id(head)]] = list(new_tokens)
    return rows
