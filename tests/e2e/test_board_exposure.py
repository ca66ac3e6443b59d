"""What lists expose users to, on boards: measured once a run, kept without the data, verified with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recbench.board import folder as boards
from recbench.board.model import Board

if TYPE_CHECKING:
    from tests.conftest import World

SHOWN = ["div_ratio@10", "or_ratio@10", "dgu@10", "mgu@10", "dgu_pop@10", "mgu_pop@10", "seen@10"]


def exposures(folder: Path) -> dict[str, dict[str, Any]]:
    """By run, as board.json has them."""
    record = json.loads((folder / "board.json").read_text())
    rows = [row for table in record["tables"] for row in table["rows"]]
    return {run: measured for row in rows for run, measured in row.get("exposure", {}).items()}


def test_a_board_measures_each_run_once_and_keeps_it_without_the_data(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [*world.run("noise"), *world.run("noise", seed=1), *world.run("counts")]
    assert world.recbench("leaderboard", "build", "mine").returncode == 0
    folder = world.root.path / "leaderboards" / "mine"
    found = exposures(folder)
    assert found.keys() == {run.id for run in runs}
    for run in runs:
        scored = json.loads(world.recbench("score", run.id, "--k", "10", "--exposure", "--json").stdout)
        told = scored[0]["exposure"]
        assert list(found[run.id]) == SHOWN
        assert all(found[run.id][name] == pytest.approx(told[name], rel=1e-7) for name in SHOWN)
    assert world.recbench("leaderboard", "check", "mine").returncode == 0
    text = (folder / "board.md").read_text()
    assert "### What the lists expose users to" in text
    assert "| method | div\\_ratio@10 | or\\_ratio@10 | dgu@10 |" in text
    assert 'data-key="seen@10"' in (folder / "index.html").read_text()

    before = (folder / "board.json").read_bytes()
    monkeypatch.setattr(
        "recbench.board.exposure.of_runs.exposure_of", lambda *_, **__: pytest.fail("it was measured again")
    )
    shutil.rmtree(world.root.cache / "split")
    for source in ("bundles", "records"):
        assert world.recbench("leaderboard", "build", "mine", "--from", source).returncode == 0
        assert (folder / "board.json").read_bytes() == before


def test_a_row_says_the_means_of_its_runs_and_nothing_of_half_of_them(world: World) -> None:
    for seed in range(2):
        world.run("noise", seed=seed)
    assert world.recbench("leaderboard", "build", "mine").returncode == 0
    folder = world.root.path / "leaderboards" / "mine"
    record = json.loads((folder / "board.json").read_text())
    [row] = Board.from_json(record).tables[0].rows
    one, other = (row.exposure[run]["seen@10"] for run in row.runs)
    assert row.exposed["seen@10"].mean == pytest.approx((one.mean + other.mean) / 2)
    assert row.exposed["seen@10"].low == pytest.approx((one.low + other.low) / 2)
    del record["tables"][0]["rows"][0]["exposure"][row.runs[1]]
    [half] = Board.from_json(record).tables[0].rows
    assert half.exposed == {}
    del record["tables"][0]["rows"][0]["exposure"]
    [none] = Board.from_json(record).tables[0].rows
    assert "exposure" not in none.to_json()


def test_without_the_data_a_board_is_as_it_was_before_there_were_measures(world: World) -> None:
    world.run("counts")
    shutil.rmtree(world.root.cache / "split")
    assert world.recbench("leaderboard", "build", "mine").returncode == 0
    folder = world.root.path / "leaderboards" / "mine"
    assert exposures(folder) == {}
    assert "expose" not in (folder / "board.md").read_text()
    assert "seen@10" not in (folder / "index.html").read_text()


def test_verify_finds_a_measure_that_the_lists_do_not_give(world: World) -> None:
    [run] = world.run("counts")
    assert world.recbench("leaderboard", "build", "mine").returncode == 0
    folder = world.root.path / "leaderboards" / "mine"
    done = world.recbench("verify", "mine", "--users", "0")
    assert done.returncode == 0, done.stderr
    assert "checked: exposure from lists and histories" in done.stdout
    record = json.loads((folder / "board.json").read_text())
    record["tables"][0]["rows"][0]["exposure"][run.id]["seen@10"]["mean"] = 0.0
    boards.mark(folder, Board.from_json(record), [])  # with every form as it gives them
    assert world.recbench("leaderboard", "check", "mine").returncode == 0  # without data, as recorded
    done = world.recbench("verify", "mine", "--users", "0", "--json")
    assert done.returncode == 5
    [verdict] = json.loads(done.stdout)
    assert verdict["wrong"][0].startswith("exposure seen@10: recorded is 0 [")
