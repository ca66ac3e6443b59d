"""Boards from the command line: built, checked, from the store; the papers' tables; MLflow's own pages."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from recbench.base.root import discover
from recbench.results.bundle import Bundle
from recbench.running import execute

if TYPE_CHECKING:
    from tests.conftest import World

PATIENCE = 300  # seconds for a server to answer, on a busy machine


@pytest.fixture
def study(world: World) -> list[Bundle]:
    """A method over two seeds, one without, and one that fails."""
    planned = [*world.plan("noise"), *world.plan("noise", seed=1), *world.plan("counts", "broken")]
    return execute.run_all(planned, world.root)


def test_a_board_is_built_checked_and_fails_the_check_after_one_byte(
    world: World, study: list[Bundle]
) -> None:
    built = world.recbench("leaderboard", "build", "mine", "--metric", "hr@5", "--reference", "noise")
    assert built.returncode == 0, built.stderr
    folder = world.root.path / "leaderboards" / "mine"
    forms = {path.name for path in folder.iterdir()}
    assert forms == {"board.json", "board.md", "board.tex", "index.html", "records"}
    board = json.loads((folder / "board.json").read_text())
    [table] = board["tables"]
    users = {name: view["hr@5"]["users"] for name, view in table["views"].items()}
    assert users["all"] == len(study[0].ranks)
    assert sum(users.get(name, 0) for name in ("head", "mid", "tail")) == users["all"]
    assert {name.partition("@")[0] for name in table["metrics"]} >= {"coverage", "gini", "popularity"}
    command = board["command"]
    assert command == "recbench leaderboard build mine --metric hr@5 --reference noise"
    wrong = world.recbench("leaderboard", "build", "mine", "--reference", "nois")
    assert (wrong.returncode, "did you mean 'noise'" in wrong.stderr) == (2, True)
    checked = world.recbench("leaderboard", "check", "mine")
    assert checked.returncode == 0, checked.stderr
    assert "2 rows from 4 records" in checked.stdout

    before = (folder / "board.json").read_bytes()
    shutil.rmtree(world.root.runs)  # the folder of a board stands by itself
    again = world.recbench(*command.split()[1:], "--from", "records")
    assert again.returncode == 0, again.stderr
    assert (folder / "board.json").read_bytes() == before

    changed = folder / "records" / study[0].id / "efficiency.json"
    changed.write_bytes(changed.read_bytes().replace(b"1", b"2", 1))
    checked = world.recbench("leaderboard", "check", "mine")
    assert checked.returncode == 5
    assert "efficiency.json has changed" in checked.stderr


def test_bad_boards_say_what_and_how(world: World) -> None:
    study = world.root.path / "leaderboards" / "planned" / "study.toml"
    study.parent.mkdir(parents=True)
    study.write_text('methods = ["counts"]\ndatasets = ["toy"]\n')
    for words, code, said in (
        (("leaderboard", "check", "nothing"), 3, "there is no board in"),
        (("leaderboard", "build", "../out"), 2, "is no name of a board"),
        (("leaderboard", "build", "--from", "records"), 3, "there are no runs in records"),
        (("leaderboard", "build", "planned"), 3, "try: recbench run --study planned"),
        (("leaderboard", "build", "--from", "mlflow"), 2, "the store is turned off"),
        (("reproduce", "ilrec-tabel1"), 2, "did you mean 'ilrec-table1'"),
        (("ui",), 2, "the store is turned off"),
    ):
        done = world.recbench(*words)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_a_papers_table_prints_as_text_and_as_json(world: World) -> None:
    text = world.recbench("reproduce", "ilrec-table3")
    assert text.returncode == 0, text.stderr
    assert "9 cells: 9 not run" in text.stdout
    cells = json.loads(world.recbench("reproduce", "soft-table2", "--json").stdout)["cells"]
    assert {cell["verdict"] for cell in cells} == {"not run"}


@pytest.mark.slow
def test_a_board_from_mlflow_is_the_board_and_its_pages_are_served(
    world: World, study: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="the store needs mlflow")
    monkeypatch.delenv("RECBENCH_MLFLOW")
    root = discover(cwd=world.root.path)
    synced = world.recbench("sync")
    assert synced.stdout.startswith(f"{len(study)} of {len(study)} runs were new"), synced.stderr
    folder = root.path / "leaderboards" / "local"
    forms = []
    for source in ("bundles", "mlflow"):
        built = world.recbench("leaderboard", "build", "--from", source)
        assert built.returncode == 0, built.stderr
        forms.append({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    assert forms[0] == forms[1]
    assert world.recbench("leaderboard", "check").returncode == 0

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = world.command("ui", "--port", str(port))
    server = subprocess.Popen(words, cwd=root.path, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        assert page(f"http://127.0.0.1:{port}/").lower().startswith("<!doctype html>")
        query = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=recbench"
        )
        with urllib.request.urlopen(query, timeout=30) as answer:
            assert json.loads(answer.read())["experiment"]["name"] == "recbench"
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def page(address: str) -> str:
    """What a server answers, once it does."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def test_a_board_on_which_no_run_may_stand_is_refused_and_the_one_there_stays(
    world: World, study: list[Bundle]
) -> None:
    assert world.recbench("leaderboard", "build", "mine").returncode == 0
    folder = world.root.path / "leaderboards" / "mine"
    before = (folder / "board.json").read_bytes()
    for run in study:
        shutil.rmtree(run.path)
    assert world.recbench("run", "-m", "noise", "-d", "toy", "--limit-users", "50").returncode == 0
    refused = world.recbench("leaderboard", "build", "mine")
    assert refused.returncode == 3
    assert "no run can stand on this board" in refused.stderr
    assert "off protocol: limited to 50 users" in refused.stderr
    (folder / "study.toml").write_text('methods = ["counts"]\ndatasets = ["toy"]\n')
    refused = world.recbench("leaderboard", "build", "mine")
    assert refused.returncode == 3
    assert "none of the study's has finished" in refused.stderr
    assert (folder / "board.json").read_bytes() == before
