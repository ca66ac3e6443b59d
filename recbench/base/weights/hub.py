"""The cache of the Hugging Face Hub on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REVISIONS: Mapping[str, str] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "12fd25f77366fa6b3b4b768ec3050bf629380bac"
}
"""The commit of each repository that is pinned; of the others the newest that is known."""


def in_cache(repository: str) -> Path | None:
    """The cached snapshot of a repository, at its pinned or else newest known commit, if it is complete."""
    from huggingface_hub import try_to_load_from_cache

    revision = REVISIONS.get(repository)
    if not isinstance(try_to_load_from_cache(repository, "config.json", revision=revision), str):
        return None  # without the slow import below
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def download_command(repository: str) -> str:
    revision = REVISIONS.get(repository)
    return f"hf download {repository}" + (f" --revision {revision}" if revision else "")
