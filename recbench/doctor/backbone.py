"""A backbone: its files here, or whether they may and can be fetched, and the room that they need."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from recbench.base.environment import install
from recbench.base.files import expanded
from recbench.base.weights import gguf
from recbench.base.weights.hub import REVISIONS, download_command, in_cache
from recbench.base.words import size_text
from recbench.doctor.finding import Finding, Status
from recbench.doctor.place import existing
from recbench.errors import RecbenchError
from recbench.planning.resolve import check_backbone
from recbench.settings import BACKBONES, backbone_class

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

SECONDS = 5.0
WEIGHTS = ("*.safetensors", "*.bin")
INDEX = "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
BYTES_PER_PARAMETER = 2  # as they are published, in bf16


def backbone(name: str, *, offline: bool, shared_with_nodes: bool = False) -> Finding:
    """Nothing is downloaded, and with `offline` nobody is asked. UsageError for a name that cannot be one.

    `shared_with_nodes`: compute nodes of a cluster are to use it, and they often see no network.
    """
    if gguf.names_file(name):
        return _gguf_file(name)
    check_backbone(name)
    if backbone_class(name) == "scratch":
        return _finding("ok", f"{name}: made here, nothing to fetch")
    folder = expanded(name)
    if folder.is_dir():
        lacking = lacks(folder)
        if lacking:
            fix = "name the folder that save_pretrained, or hf download --local-dir, has written"
            return _finding("missing", f"{folder} has no {' and no '.join(lacking)}", fix)
        return _finding("ok", f"{folder}, {size_text(weight_bytes(folder))} of weights")
    repository = BACKBONES.get(name, name)
    if find_spec("huggingface_hub") is None:
        return _finding("missing", f"{repository} is on the Hugging Face Hub", install("train"))
    cached = in_cache(repository)
    if cached is not None and not lacks(cached):
        return _finding("ok", f"{repository} is in the cache, {size_text(weight_bytes(cached))} of weights")
    part = "only in part" if cached is not None else "not"
    where = f"{repository} is {part} in the cache {cache_folder()}"
    if offline:
        fix = f"{download_command(repository)}, with the network, and HF_HOME where this machine sees it"
        size = about_bytes(repository)
        needs = "" if size is None else f"; its weights need about {size_text(size)}"
        return _room(where, size) or _finding("missing", where + needs, fix)
    return _at_the_hub(repository, where, shared_with_nodes)


def _gguf_file(name: str) -> Finding:
    try:
        path = gguf.find(name)
        header = gguf.read_header(path)
    except RecbenchError as error:
        return _finding("missing", ": ".join(filter(None, (error.what, error.why))), error.fix)
    size = size_text(path.stat().st_size)
    return _finding("ok", f"{path}, a GGUF file of the architecture '{header.architecture}', {size}")


def lacks(folder: Path) -> list[str]:
    """What a model's folder does not have of what a run reads, for people."""
    lacking = [] if (folder / "config.json").is_file() else ["config.json"]
    if (folder / INDEX).is_file():
        shards = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        lacking += sorted(shard for shard in shards if not (folder / shard).is_file())
    elif not _files(folder, WEIGHTS):
        lacking.append("weights")
    return lacking + ([] if any((folder / name).is_file() for name in TOKENIZERS) else ["tokenizer"])


def weight_bytes(folder: Path) -> int:
    """Of the safetensors where there are any, else of the other weights."""
    return sum(path.stat().st_size for path in _files(folder, WEIGHTS[:1]) or _files(folder, WEIGHTS[1:]))


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]


def cache_folder() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _at_the_hub(repository: str, where: str, shared_with_nodes: bool) -> Finding:
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    api, page = HfApi(), f"https://huggingface.co/{repository}"
    fetch = download_command(repository)
    try:
        info = api.model_info(
            repository, revision=REVISIONS.get(repository), files_metadata=True, timeout=SECONDS
        )
        if info.gated and get_token() is None:
            fix = f"ask for access at {page}, then hf auth login"
            return _finding("missing", f"{where}; it is gated, and no token is here", fix)
        if info.gated:
            api.auth_check(repository)
    except GatedRepoError:
        fix = f"ask for access at {page}"
        return _finding("missing", f"{where}; it is gated, and your token has no access", fix)
    except RepositoryNotFoundError:
        fix = "recbench list backbones; for a private model, hf auth login"
        return _finding("missing", f"the Hub shows no model {repository}", fix)
    except Exception as error:  # whatever a network does, it means the same: nobody answered
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        fix = f"{fetch} where there is a network, and HF_HOME where this machine sees it"
        return _finding("missing", f"{where}, and the Hub does not answer ({why})", fix)
    size = _weights_at_the_hub(info)
    narrow = _room(where, size)
    if narrow is not None:
        return narrow
    found = f"{where}; the Hub has {size_text(size)} of weights"
    if shared_with_nodes:
        return _finding("warning", f"{found}, which compute nodes may not reach", fetch)
    return _finding("ok", f"{found}, fetched when a run needs them")


def _weights_at_the_hub(info: ModelInfo) -> int:
    files = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    for ending in (".safetensors", ".bin"):
        found = [size for name, size in files.items() if name.endswith(ending) and "/" not in name]
        if found:
            return sum(found)
    return sum(files.values())


def _room(where: str, size: int | None) -> Finding | None:
    """A finding where weights of that size do not fit on the cache's disk."""
    free = shutil.disk_usage(existing(cache_folder())).free
    if size is None or size <= free:
        return None
    found = f"{where}; its weights need {size_text(size)}, and {size_text(free)} are free"
    return _finding("missing", found, "HF_HOME=FOLDER on a larger disk")


def about_bytes(repository: str) -> int | None:
    """Size of the weights by the number of parameters in a model's name, as in `Qwen2-0.5B`."""
    match = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![a-z])", repository, re.IGNORECASE)
    return None if match is None else round(float(match[1]) * 1e9 * BYTES_PER_PARAMETER)


def _finding(status: Status, found: str, fix: str = "") -> Finding:
    return Finding(name="backbone", status=status, found=found, fix=fix)
