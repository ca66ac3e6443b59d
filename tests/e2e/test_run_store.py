"""What runs leave in the store, and what a command brings there later."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recbench.base.root import Root, discover
from recbench.exchange import mlflow_store
from recbench.exchange.sync import pending
from recbench.running import execute
from tests.e2e.conftest import Interrupting, Listening

if TYPE_CHECKING:
    from tests.conftest import World


def test_a_store_that_is_down_only_warns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBENCH_MLFLOW", "sqlite:////proc/no-such-folder/mlflow.db")
    listener = Listening()
    (one,) = execute.run_all(world.plan("counts"), discover(cwd=world.root.path), listener=listener)
    assert one.status == "complete"
    assert "try: recbench sync" in listener.said[-1]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables; making them takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    mlflow_store.sync([], uri=f"sqlite:///{folder / 'mlflow.db'}", artifacts_root=folder / "artifacts")
    return folder / "mlflow.db"


@pytest.fixture
def stored(world: World, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """The root of `world`, with a store of its own."""
    monkeypatch.delenv("RECBENCH_MLFLOW")
    shutil.copy(empty_store, world.root.path / "mlflow.db")
    return discover(cwd=world.root.path)


def in_store(root: Root) -> dict[str, str]:
    """The status of every stored run, by its id here."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=root.mlflow_uri)
    runs = client.search_runs([client.get_experiment_by_name("recbench").experiment_id])
    return {
        one.data.tags["recbench.run_id"]: one.info.status
        for one in runs
        if "recbench.run_id" in one.data.tags
    }


def test_what_is_finished_when_a_command_is_interrupted_is_in_the_store(world: World, stored: Root) -> None:
    planned = world.plan("broken", "counts", "noise")
    with pytest.raises(KeyboardInterrupt):
        execute.run_all(planned, stored, listener=Interrupting())
    failed, finished, interrupted = (one.spec.id for one in planned)
    assert in_store(stored) == {failed: "FAILED", finished: "FINISHED"}
    execute.run_all(planned, stored)
    assert in_store(stored) == {failed: "FAILED", finished: "FINISHED", interrupted: "FINISHED"}


def test_what_is_finished_when_a_later_run_breaks_the_command_is_in_the_store(
    world: World, stored: Root
) -> None:
    finished, broken = world.plan("counts", "noise")
    stored.runs.mkdir()
    (stored.runs / f".{broken.spec.id}.partial").write_text("a file where the folder should be")
    with pytest.raises(NotADirectoryError):
        execute.run_all([finished, broken], stored)
    assert in_store(stored) == {finished.spec.id: "FINISHED"}


def test_a_reused_run_that_the_store_missed_goes_there_and_one_that_it_has_leaves_it_closed(
    world: World, stored: Root
) -> None:
    planned = world.plan("counts")
    execute.run_all(planned, world.root)  # without a store
    execute.run_all(planned, stored)
    assert in_store(stored) == {planned[0].spec.id: "FINISHED"}
    (stored.path / "mlflow.db").write_bytes(b"whoever opens this store is told that it is none")
    listener = Listening()
    execute.run_all(planned, stored, listener=listener)
    assert [text for text in listener.said if "warning" in text] == []
    done = world.recbench("sync")  # asks the store itself
    assert done.returncode == 3


def test_sync_brings_every_undamaged_run_once(world: World, stored: Root) -> None:
    finished, failed, damaged = world.run("counts", "broken", "noise")
    (damaged.path / "log.txt").write_text("other")
    first, second = world.recbench("sync"), world.recbench("sync")
    assert first.stdout.startswith("2 of 2 runs were new")
    assert second.stdout.startswith("0 of 2 runs were new")
    assert damaged.id in first.stderr
    assert in_store(stored) == {finished.id: "FINISHED", failed.id: "FAILED"}


@pytest.mark.parametrize("content", ["[]", "{", '{"files": {"x": "0"}, "status": "won"}'])
def test_a_damaged_record_of_the_store_is_named_and_the_others_are_ranked(
    world: World, stored: Root, empty_store: Path, content: str
) -> None:
    good, bad = execute.run_all(world.plan("counts", "noise"), stored)
    manifests = empty_store.parent.glob("artifacts/**/manifest.json")
    kept = [path for path in manifests if f'"{bad.id}"' in path.read_text()]
    assert kept
    for path in kept:  # of other tests too, which do not read them
        path.write_text(content)
    built = world.recbench("leaderboard", "build", "mine", "--from", "mlflow", "--json")
    assert built.returncode == 0, built.stderr
    assert f"run {bad.id} of the store is left out" in built.stderr
    assert list(json.loads(built.stdout)["records"]) == [good.id]


def test_a_store_that_was_removed_is_filled_again(world: World, stored: Root) -> None:
    planned = world.plan("counts")
    (one,) = execute.run_all(planned, stored)
    assert pending([one], stored) == []
    (stored.path / "mlflow.db").unlink()
    assert pending([one], stored) == [one]
