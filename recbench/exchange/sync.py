"""Runs go to the store, and each gets a mark, so that the store is not opened when nothing is new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from recbench.base import digest
from recbench.base.root import Root
from recbench.errors import MissingError, RecbenchError, UsageError
from recbench.exchange.patience import QUIET_SECONDS, Watched, database_closed
from recbench.results.bundle import MANIFEST, Bundle

SQLITE = "sqlite:///"
MAKING_SECONDS = 120.0
"""The longest step of making a new database, on a slow disk."""


def sync(bundles: Sequence[Bundle], root: Root, say: Callable[[str], None]) -> int:
    """Log these runs to the root's store and mark them; return how many were not in it.

    Asks the store itself, whatever the marks say. Does nothing where the store is turned off. MissingError
    where it cannot be used.
    """
    if root.mlflow_uri is None:
        return 0
    from recbench.exchange import mlflow_store

    uri = root.mlflow_uri
    database = Path(uri.removeprefix(SQLITE))
    closed = database_closed(database) if uri.startswith(SQLITE) and database.exists() else ""
    if closed:
        raise MissingError(
            f"the MLflow store {uri} cannot be written", why=closed, fix="recbench sync, later"
        )
    mlflow_store.load()
    count = Watched(
        lambda beat: mlflow_store.sync(bundles, uri=uri, artifacts_root=root.artifacts, beat=beat)
    ).result(what=f"the MLflow store {uri}", say=say, quiet_seconds=_quiet_seconds(uri))
    for run in bundles:
        mark = _mark(run, root, root.mlflow_uri)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(_content(run))
    return count


def fetch(into: Path, root: Root, say: Callable[[str], None]) -> list[Path]:
    """The records of all complete runs of the root's store, each in a folder under `into`.

    UsageError where there is no store, MissingError where it cannot be used.
    """
    if root.mlflow_uri is None:
        raise UsageError(
            "the store is turned off",
            fix="set mlflow in recbench.toml, or RECBENCH_MLFLOW, or --from bundles",
        )
    from recbench.exchange import mlflow_store

    uri = root.mlflow_uri
    mlflow_store.load()
    return Watched(lambda beat: mlflow_store.fetch(into, uri=uri, beat=beat)).result(
        what=f"the MLflow store {uri}", say=say, quiet_seconds=_quiet_seconds(uri)
    )


def sync_boards(folders: Sequence[Path], names: Sequence[str], root: Root) -> int:
    """Log the files `names` of these boards; return how many were new or changed since.

    Does nothing where the store is turned off. MissingError where it cannot be used.
    """
    if root.mlflow_uri is None or not folders:
        return 0
    from recbench.exchange import mlflow_store

    return mlflow_store.sync_boards(folders, names, uri=root.mlflow_uri, artifacts_root=root.artifacts)


def pending(bundles: Sequence[Bundle], root: Root) -> list[Bundle]:
    """The runs that the root's store does not have in their present state, by the marks that `sync` left."""
    uri = root.mlflow_uri
    if uri is None:
        return []
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        return list(bundles)  # the store has been removed, with everything in it
    marks = ((run, _mark(run, root, uri)) for run in bundles)
    return [run for run, mark in marks if not mark.exists() or mark.read_text() != _content(run)]


def sync_pending(bundles: Sequence[Bundle], root: Root, say: Callable[[str], None]) -> None:
    """Log the pending runs. A store that is down only gives a warning: the bundles are the truth.

    Where MLflow is not installed, a store that is a file waits for it without one.
    """
    if (root.mlflow_uri or "").startswith(SQLITE) and find_spec("mlflow") is None:
        return
    try:
        new = pending(bundles, root)
        if new:
            sync(new, root, say)
    except Exception as error:
        why = error.why if isinstance(error, RecbenchError) else f"{type(error).__name__}: {error}"
        say(
            f"warning: the store {root.mlflow_uri} took no results ({why.partition(chr(10))[0]}); "
            "the bundles are complete. try: recbench sync"
        )


def _quiet_seconds(uri: str) -> float:
    """A new database is made here, which takes its time; a server answers at once or is not there."""
    return MAKING_SECONDS if uri.startswith(SQLITE) else QUIET_SECONDS


def _mark(run: Bundle, root: Root, uri: str) -> Path:
    return root.cache / "synced" / digest.short(digest.of_json(uri)) / run.id


def _content(run: Bundle) -> str:
    """The digest of the manifest: a run that is made again has another one."""
    return digest.of_file(run.path / MANIFEST)
