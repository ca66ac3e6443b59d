"""The Python interface does what the commands do: the same runs, numbers, differences and boards."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

import recbench
from recbench.api.surroundings import NotebookCell
from recbench.errors import CheckError, MissingError, UsageError
from tests.conftest import NUM_USERS, World
from tests.test_imports import HEAVY, loaded_after

LIGHT = (*HEAVY, "numpy", "rich", "typer")


pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture
def runs(world: World) -> recbench.Runs:
    return recbench.run(["counts", "noise:beta=0.5"], "toy", seeds=2, root=world.root.path, progress=False)


def test_importing_recbench_imports_none_of_what_is_behind_it() -> None:
    assert loaded_after("import recbench; dir(recbench)", LIGHT) == []
    assert loaded_after(f"from recbench import {', '.join(recbench.__all__)}", LIGHT) == []
    assert dir(recbench) == sorted(recbench.__all__)
    with pytest.raises(AttributeError, match="exports no 'comparee'"):
        recbench.comparee  # type: ignore[attr-defined]  # noqa: B018  # reading it is what raises


def test_no_room_takes_the_place_of_a_name() -> None:
    """A module that is imported becomes an attribute of its package, whatever that exports."""
    modules = {name.partition(".")[2] for name in sys.modules if name.startswith("recbench.")}
    assert modules.isdisjoint(recbench.__all__)


def test_run_gives_the_runs_of_the_command(world: World, runs: recbench.Runs) -> None:
    words = ("run", "-m", "counts", "-m", "noise:beta=0.5", "-d", "toy", "--seeds", "2", "--json")
    told = json.loads(world.recbench(*words).stdout)
    assert [run.id for run in runs] == [run["id"] for run in told]
    assert [(run.method, run.seed) for run in runs] == [
        ("counts", None),
        ("noise[beta=0.5]", 0),
        ("noise[beta=0.5]", 1),
    ]
    assert [dict(run.metrics) for run in runs] == [run["metrics"] for run in told]
    assert runs[0].interval("hr@5") == told[0]["intervals"]["hr@5"]
    assert [one.id for one in recbench.load("noise[beta=0.5]")] == [one.id for one in runs[1:]]
    assert [one.id for one in recbench.load(runs[2].id[:6], "counts")] == [runs[2].id, runs[0].id]
    assert sorted(one.id for one in recbench.load()) == sorted(one.id for one in runs)
    assert repr(runs[1]).startswith(f"<Run {runs[1].id}: noise[beta=0.5] on toy, seed 0, hr@10 0.")


def test_the_frame_of_a_run_has_a_row_for_each_user_and_its_means(runs: recbench.Runs) -> None:
    frame = runs[0].to_frame()
    assert len(frame) == NUM_USERS
    for name in ("hr@10", "ndcg@5", "mrr@20"):
        assert frame[name].mean() == pytest.approx(runs[0].metrics[name], abs=1e-12)
    hit = frame["rank"].between(1, 10)
    assert (frame["hr@10"] == hit).all()
    np.testing.assert_allclose(frame["ndcg@10"], np.where(hit, 1 / np.log2(frame["rank"] + 1), 0))
    whole = runs.per_user(["hr@1"])
    assert list(whole.columns) == ["run", "method", "dataset", "seed", "user", "rank", "hr@1"]
    assert whole.groupby("run").size().to_dict() == dict.fromkeys((run.id for run in runs), NUM_USERS)


def test_lists_have_titles_and_the_target_at_its_rank(runs: recbench.Runs) -> None:
    lists, frame = runs[0].lists(places=20), runs[0].to_frame([])
    assert (lists["title"] == "thing " + lists["item"]).all()
    assert lists.groupby("user").size().eq(20).all()
    targets = lists[lists["is_target"]].set_index("user")["place"]
    found = frame[frame["rank"] > 0].set_index("user")["rank"]
    assert targets.sort_index().to_dict() == found.sort_index().to_dict()
    # user u's last item is (7 u + 3) mod 60
    for user, item in zip(*(lists[lists["is_target"]][name] for name in ("user", "item")), strict=True):
        assert int(item) == (7 * int(user) + 3) % 60


def test_a_failed_run_is_a_run_with_a_reason_and_without_results(world: World) -> None:
    (run,) = runs = recbench.run("broken", "toy", progress=False, root=world.root.path)
    assert (run.status, run.reason and run.reason["message"]) == ("failed", "this method does not work")
    assert [one.id for one in runs.failed] == [run.id]
    assert runs.to_frame()["status"].tolist() == ["failed"]
    with pytest.raises(CheckError, match="failed and has no results"):
        run.to_frame()


def test_compare_says_what_the_command_says(world: World, runs: recbench.Runs) -> None:
    found = recbench.compare("noise[beta=0.5]", "counts", metric="hr@10")
    told = json.loads(
        world.recbench("compare", "noise[beta=0.5]", "counts", "--metric", "hr@10", "--json").stdout
    )
    assert json.loads(json.dumps(asdict(found.comparisons[0]))) | {"dataset": "toy"} == told["comparisons"][0]
    (row,) = found.to_frame().to_dict("records")
    assert row["difference"] == pytest.approx(row["mean_a"] - row["mean_b"])
    assert row["low"] <= row["difference"] <= row["high"]
    assert found.standings()["name"].tolist()[0] == max(runs, key=lambda run: run.metrics["hr@10"]).method
    assert repr(found) == "<Differences: 1 pair on toy>"
    with pytest.raises(UsageError, match="'A' is compared with nothing"):
        recbench.compare()
    with pytest.raises(UsageError, match="compared with nothing"):
        recbench.compare("counts")


@pytest.mark.usefixtures("runs")
def test_the_board_is_that_of_the_command(world: World) -> None:
    board = recbench.leaderboard(write=True)
    assert (board.folder / "index.html").exists()
    told = json.loads(world.recbench("leaderboard", "build", "--json").stdout)
    assert json.loads(json.dumps(board.board.to_json())) == told
    frame = board.to_frame()
    assert sorted(frame["method"]) == ["counts", "noise[beta=0.5]"]
    assert frame["ndcg@10"].is_monotonic_decreasing
    assert world.recbench("leaderboard", "check").returncode == 0
    assert "<table" in board._repr_html_()
    assert repr(board) == "<Leaderboard local by ndcg@10: 2 rows on toy>"


def test_plan_prepares_nothing(world: World) -> None:
    found = recbench.plan(["counts", "child"], "toy")
    assert not world.root.runs.exists()
    assert not (world.root.cache / "split").exists()
    frame = found.to_frame()
    assert frame["state"].tolist() == ["to run"] * len(found)
    assert found.totals.runs == len(found) == 3  # child needs sft
    assert repr(found) == "<Plan: 3 to run>"


def test_a_dataset_has_its_users_items_and_no_test_target() -> None:
    toy = recbench.datasets.load("toy", progress=False)
    assert "toy" in recbench.datasets.names()
    assert repr(toy).startswith("<Dataset toy: 120 users, 60 items, ")
    frame = toy.to_frame()
    assert len(frame) == toy.statistics.training_interactions
    assert toy.items()["popularity"].sum() == len(frame)
    last = frame.groupby("user")["item"].agg(set)
    assert not any(str((7 * int(user) + 3) % 60) in items for user, items in last.items())


def test_what_cannot_be_done_is_said_as_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no method 'conts'; did you mean 'counts'"):
        recbench.run("conts", "toy", progress=False)
    with pytest.raises(UsageError, match=r"no selected method uses train\.lr"):
        recbench.run("counts", "toy", settings={"train.lr": 0.1}, progress=False)
    with pytest.raises(UsageError, match="--method and --study cannot be given together"):
        recbench.run("counts", study="mine")
    with pytest.raises(MissingError, match="no runs"):
        recbench.leaderboard()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingError, match="tables need pandas") as told:
        recbench.datasets.load("toy", progress=False).items()
    assert told.value.fix == "pip install pandas"


def test_progress_goes_to_stderr_line_by_line(capfd: pytest.CaptureFixture[str]) -> None:
    recbench.run("noise", "toy")
    out, errors = capfd.readouterr()
    assert out == ""
    assert "training 1/3" not in errors  # a stage's first numbers are not worth a line
    assert errors != ""


def test_a_notebooks_cell_is_one_output_that_changes() -> None:
    class Handle:
        def update(self, content: Any, raw: bool) -> None:
            assert raw
            seen.append(content["text/plain"])

    def display(content: Any, *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        seen.append(content["text/plain"])
        return Handle()

    seen: list[str] = []
    cell = NotebookCell(display)
    cell.say("two runs")
    cell.progress("a: training", 1, 4)
    cell.progress("b: ranking", 1, 2)
    cell.progress("a: training", 1, 4)  # nothing new
    cell.progress("a: training", 4, 4)
    assert len(seen) == 4
    assert seen[2].splitlines() == [
        "two runs",
        "  a: training ████████░░░░░░░░░░░░░░░░░░░░░░ 1/4",
        "  b: ranking ███████████████░░░░░░░░░░░░░░░ 1/2",
    ]
    assert [line.split(":")[0] for line in seen[3].splitlines()] == ["two runs", "  b"]
