"""Runs to the store, and a mark for each that it has taken, so that nothing new means no store is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from recbench.base import digest
from recbench.base.root import Root
from recbench.errors import RecbenchError
from recbench.results.bundle import MANIFEST, Bundle

SQLITE = "sqlite:///"


def sync(bundles: Sequence[Bundle], root: Root) -> int:
    """Bring these runs to the root's store and mark them; return how many it did not hold.

    Asks the store itself, whatever the marks say. Does nothing where the store is turned off. MissingError
    where it cannot be used.
    """
    if root.mlflow_uri is None:
        return 0
    from recbench.exchange import mlflow_store

    count = mlflow_store.sync(bundles, uri=root.mlflow_uri, artifacts_root=root.artifacts)
    for one in bundles:
        mark = _mark(one, root, root.mlflow_uri)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(_content(one))
    return count


def pending(bundles: Sequence[Bundle], root: Root) -> list[Bundle]:
    """Those that the root's store has not taken yet as they are now, by the marks that `sync` has left."""
    uri = root.mlflow_uri
    if uri is None:
        return []
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        return list(bundles)  # the store has been removed, and what it had taken with it
    marks = ((one, _mark(one, root, uri)) for one in bundles)
    return [one for one, mark in marks if not mark.exists() or mark.read_text() != _content(one)]


def sync_pending(bundles: Sequence[Bundle], root: Root, say: Callable[[str], None]) -> None:
    """Bring what is pending. A store that is down only warns: the bundles are the truth."""
    try:
        new = pending(bundles, root)
        if new:
            sync(new, root)
    except Exception as error:
        why = error.why if isinstance(error, RecbenchError) else f"{type(error).__name__}: {error}"
        say(
            f"warning: the store {root.mlflow_uri} took no results ({why.partition(chr(10))[0]}); "
            "the bundles are complete. try: recbench sync"
        )


def _mark(one: Bundle, root: Root, uri: str) -> Path:
    return root.cache / "synced" / digest.short(digest.of_json(uri)) / one.id


def _content(one: Bundle) -> str:
    """A run that is made again has another manifest."""
    return digest.of_file(one.path / MANIFEST)
