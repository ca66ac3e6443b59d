"""Where the targets of a dataset can be read beside its splits; for the driver, which knows card and root."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from recbench.base.layout import REPLAYS, SUBMISSIONS
from recbench.base.root import Root
from recbench.dataset import card
from recbench.dataset.sources.locate import folders
from recbench.errors import RecbenchError
from recbench.running.guard.bounds import real_path


def closed_for(dataset: str, root: Root) -> tuple[Path, ...]:
    """Raw files, results of runs and of replays, and boards."""
    found = card.find(dataset, root.path)
    raw = [
        part
        for source in found.sources
        for folder in folders(source, root.data_dir, root.cache)
        for part in _raw(folder, [folder / file.name for file in source.files.values()], root)
    ]
    store = root.mlflow_uri or ""
    stores = [Path(store.removeprefix("sqlite:///"))] if store.startswith("sqlite:///") else []
    folders_of_results = ("leaderboards", "jobs", REPLAYS, SUBMISSIONS)
    results = (root.runs, root.artifacts, *(root.path / name for name in folders_of_results))
    return (*raw, *results, *stores)


def closed_for_all(root: Root) -> tuple[Path, ...]:
    """Of every dataset that has a readable card."""
    found: dict[Path, None] = {}
    for name in card.available(root.path):
        with suppress(RecbenchError, OSError):
            found |= dict.fromkeys(closed_for(name, root))
    return tuple(found)


def _raw(folder: Path, files: Sequence[Path], root: Root) -> Sequence[Path]:
    """The folder of raw files; the files alone where it holds what a worker needs."""
    needed = map(real_path, (Path(sys.prefix), Path(sys.base_prefix), Path(__file__), root.cache))
    return files if any(path.startswith(real_path(folder)) for path in needed) else [folder]
