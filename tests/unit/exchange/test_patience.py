"""A store that accepts and never answers, a locked database: each a sentence within seconds."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recbench.base.root import Root
from recbench.errors import MissingError, UsageError
from recbench.exchange import sync as syncing
from recbench.exchange.patience import Beating, Watched, database_closed
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]


def test_the_result_or_the_error_of_the_work_comes_back() -> None:
    assert Watched(lambda _beat: 7).result(what="it", say=print) == 7

    def fails(_beat: Callable[[], None]) -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        Watched(fails).result(what="it", say=print)


def test_work_that_goes_on_answering_may_take_longer_than_the_silence_allowed() -> None:
    def slow(beat: Callable[[], None]) -> str:
        for _ in range(8):
            time.sleep(0.1)
            beat()
        return "done"

    assert Watched(slow).result(what="it", say=print, quiet_seconds=0.5) == "done"


def test_work_without_an_answer_is_left_behind() -> None:
    started = time.monotonic()
    with pytest.raises(MissingError, match="the store does not answer"):
        Watched(lambda _beat: time.sleep(30)).result(what="the store", say=print, quiet_seconds=0.3)
    assert time.monotonic() - started < 20


def test_every_call_of_a_client_is_an_answer() -> None:
    beats: list[int] = []
    client = Beating("text", lambda: beats.append(1))
    assert client.upper() == "TEXT"
    assert client.replace("t", "n") == "nexn"
    assert len(beats) == 2


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        for connection in held:
            connection.close()


def test_a_mute_store_costs_one_bounded_wait_and_is_said(
    tmp_path: Path, make_bundle: MakeBundle, mute: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setattr(syncing, "QUIET_SECONDS", 3.0)
    root = Root(path=tmp_path, environ={"RECBENCH_MLFLOW": f"http://127.0.0.1:{mute}"})
    said: list[str] = []
    syncing.sync_pending([make_bundle("ilrec", [1, 0, 4])], root, said.append)
    assert any("waiting for the MLflow store" in text for text in said)
    assert "nothing came for 3 s" in said[-1]
    assert "recbench sync" in said[-1]


def test_a_board_from_a_mute_store_costs_one_bounded_wait_too(
    tmp_path: Path, mute: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setattr(syncing, "QUIET_SECONDS", 3.0)
    root = Root(path=tmp_path, environ={"RECBENCH_MLFLOW": f"http://127.0.0.1:{mute}"})
    said: list[str] = []
    with pytest.raises(MissingError, match="does not answer"):
        syncing.fetch(tmp_path / "fetched", root, said.append)
    assert said == [f"waiting for the MLflow store http://127.0.0.1:{mute}, 3 s at most"]
    with pytest.raises(UsageError, match="the store is turned off"):
        syncing.fetch(tmp_path, Root(path=tmp_path, environ={"RECBENCH_MLFLOW": "off"}), said.append)


def test_a_file_waits_for_mlflow_without_a_word_and_a_server_with_one(
    tmp_path: Path, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base install has no MLflow, and its user asked for none."""
    monkeypatch.setattr(syncing, "find_spec", lambda _: None)
    monkeypatch.setattr(syncing, "sync", lambda *_: pytest.fail("the store was asked"))
    run, said = make_bundle("ilrec", [1, 0, 4]), list[str]()
    syncing.sync_pending([run], Root(path=tmp_path), said.append)
    assert said == []
    named = Root(path=tmp_path, environ={"RECBENCH_MLFLOW": "http://127.0.0.1:1"})
    monkeypatch.undo()
    monkeypatch.setattr(syncing, "find_spec", lambda _: None)
    monkeypatch.setattr(syncing, "QUIET_SECONDS", 3.0)
    syncing.sync_pending([run], named, said.append)
    assert "took no results" in said[-1]


def test_a_database_that_another_process_holds_is_said_to_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path, isolation_level=None) as holder:
        holder.execute("CREATE TABLE t (x)")
        assert database_closed(path, seconds=0.1) == ""
        holder.execute("BEGIN IMMEDIATE")
        assert "locked" in database_closed(path, seconds=0.1)
        holder.execute("ROLLBACK")
