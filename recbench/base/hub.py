"""The cache of the Hugging Face Hub on this machine."""

from __future__ import annotations

from pathlib import Path


def in_cache(repository: str) -> Path | None:
    """The cached snapshot of the newest known commit of a repository, if it is complete."""
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(repository, "config.json"), str):
        return None  # without the slow import below
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
