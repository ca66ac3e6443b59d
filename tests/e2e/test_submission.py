"""`recbench leaderboard submit`: runs for a board that others keep, as a folder and a pull request's text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recbench.base.digest import of_folder
from recbench.base.root import discover
from recbench.results import bundle
from recbench.results.bundle import Bundle

if TYPE_CHECKING:
    from tests.conftest import World

STUDY = '# kept by others\nmethods = ["counts"]\ndatasets = ["toy"]\nseeds = 2\npairs = "counts"\n'


def edit(run: Bundle, change: Callable[[Path], None]) -> None:
    """Change files of a run and make its seals again."""
    edited = bundle.create(run.path.parent, run.id)
    shutil.copytree(
        run.path, edited, ignore=shutil.ignore_patterns("manifest.json", "COMPLETE"), dirs_exist_ok=True
    )
    change(edited)
    bundle.finish(edited, run.manifest, status="complete")


def with_other_ranks(folder: Path) -> None:
    """Of the first two requests."""
    old = bundle.read_arrays(folder / "ranks.npz")
    ranks = np.where(np.arange(len(old["ranks"])) < 2, old["ranks"] + 1, old["ranks"])
    bundle.write_arrays(folder / "ranks.npz", **old | {"ranks": ranks})


@pytest.fixture
def checkout(world: World, tmp_path: Path) -> Path:
    """A repository whose board `toys` has one method; its maintainer's runs are gone from the root."""
    checkout = tmp_path / "checkout"
    study = checkout / "leaderboards" / "toys" / "study.toml"
    study.parent.mkdir(parents=True)
    study.write_text(STUDY)
    (checkout / "datasets").mkdir()
    world.run("counts")
    world.root.runs.rename(checkout / "runs")
    shutil.rmtree(world.root.cache / "fits")
    built = world.recbench("leaderboard", "build", "toys", "--root", str(checkout))
    assert built.returncode == 0, built.stderr
    shutil.rmtree(checkout / "runs")
    return checkout


def test_rows_come_to_a_board_that_others_keep(world: World, checkout: Path) -> None:
    for seed in range(3):
        world.run("noise:beta=2", seed=seed)
    world.run("noise:beta=2", limit_users=30)
    done = world.recbench(
        "leaderboard", "submit", "toys", "noise[beta=2.0]", "--checkout", str(checkout), "--json"
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["methods"] == ["noise:beta=2.0"]
    assert len(said["runs"]) == 2  # the study asks for seeds 0 and 1 of all users
    left_out = [line for line in done.stderr.splitlines() if "for which the study does not ask" in line]
    assert len(left_out) == 2
    assert sum("30 users" in line for line in left_out) == 1
    assert (checkout / "leaderboards" / "toys" / "study.toml").read_text() == STUDY.replace(
        '["counts"]', '["counts", "noise:beta=2.0"]'
    )
    board = json.loads((checkout / "leaderboards" / "toys" / "board.json").read_text())
    [table] = board["tables"]
    assert sorted(row["name"] for row in table["rows"]) == ["counts", "noise[beta=2.0]"]
    assert board["missing"] == []
    assert board["verified"][0].endswith("verified 3 runs")
    for place in (str(checkout), str(Path(said["folder"]))):
        for words in (("leaderboard", "check", "toys"), ("verify", "toys")):
            accepted = world.recbench(*words, "--root", place)
            assert accepted.returncode == 0, accepted.stderr
    assert said["verified"] == board["verified"]


def test_the_text_has_what_a_maintainer_must_know(world: World, checkout: Path) -> None:
    counts, run = world.run("counts", "noise")
    edit(counts, with_other_ranks)
    done = world.recbench("leaderboard", "submit", "toys", "noise")
    assert done.returncode == 3  # the root keeps no such board
    assert "--checkout FOLDER" in done.stderr
    words = ("toys", "counts", run.id[:6], "--checkout", str(checkout))
    done = world.recbench("leaderboard", "submit", *words)
    assert done.returncode == 0, done.stderr
    text = (world.root.path / "submissions" / "toys" / "pull-request.md").read_text()
    assert text.startswith("# leaderboards: add noise to toys\n")
    assert run.manifest.method_code is not None
    for said in (
        "Adds 1 run to `leaderboards/toys`, which then has 2 records.",
        "asks for `noise` from now on",
        "New cards: `datasets/toy.toml`",
        "- seeds: 0",
        f"- seeds, runs: {run.id}",
        f"- code, method: toy-methods 1.0, code {run.manifest.method_code.digest[:12]}",
        "- code, libraries: python ",
        "- hardware, machine: ",
        "- tuning, budget: no trial of recbench tune is recorded in this root",
        "again: `recbench run -m noise -d toy --protocol ilrec --seed 0`",
        "- toy-methods: its package names no address",
        "`recbench leaderboard check toys`: 2 rows from 2 records, as recorded.",
        "- checked: ranks from the first 20 of the lists (1 of 1 runs)",
        "- checked: ranks from the first 10 of the lists (1 of 1 runs)",
        "- not checked: certificate and scores: the weights of the fit are not here (1 of 1 runs)",
        "- missing: noise on toy, seed 1",
        f"- run {counts.id}, which the board had, has 2 other ranks here; the board's own is kept",
        "- noise: these checkpoints only",
        "- [ ] the ids of the users and their ranks may be published",
    ):
        assert said in text, said


def test_what_cannot_be_submitted_leaves_nothing(world: World, checkout: Path) -> None:
    _, run = world.run("counts", "noise")
    before = of_folder(checkout)
    for words, code, said in (
        (("toys", "nois"), 2, "did you mean 'noise'"),
        (("toys", "counts"), 2, "every run is on it already"),
        (("toys", "counts", "--users", "-1"), 2, "--users"),
        (("local", "noise"), 2, "the board local is that of one machine"),
        (("../toys", "noise"), 2, "is no name of a board"),
        (("other", "noise"), 3, "there is no study 'other'"),
    ):
        done = world.recbench("leaderboard", "submit", *words, "--checkout", str(checkout))
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    done = world.recbench("leaderboard", "submit", "toys", "noise", "--checkout", str(world.root.path))
    assert (done.returncode, "is no checkout of recbench" in done.stderr) == (3, True)

    values = json.loads((run.path / "metrics.json").read_text())
    edit(run, lambda folder: bundle.write_json(folder / "metrics.json", values | {"ndcg@10": 1.0}))
    done = world.recbench("leaderboard", "submit", "toys", "noise", "--checkout", str(checkout))
    assert done.returncode == 5
    assert "metric ndcg@10: recorded is 1.0" in done.stderr
    assert of_folder(checkout) == before
    assert list((world.root.path / "submissions").iterdir()) == []


def test_a_new_board_is_that_of_a_study_of_the_root(world: World, tmp_path: Path) -> None:
    study = world.root.path / "leaderboards" / "own" / "study.toml"
    study.parent.mkdir(parents=True)
    study.write_text('methods = ["counts", "noise"]\ndatasets = ["toy"]\n')
    checkout = tmp_path / "checkout"
    (checkout / "leaderboards").mkdir(parents=True)
    done = world.recbench("leaderboard", "submit", "own", "--checkout", str(checkout))
    assert (done.returncode, "there are no finished runs" in done.stderr) == (3, True)
    world.run("counts", "noise")
    in_the_way = world.root.path / "submissions" / "own"
    in_the_way.mkdir(parents=True)
    (in_the_way / "notes.txt").write_text("mine")
    done = world.recbench("leaderboard", "submit", "own", "--checkout", str(checkout))
    assert (done.returncode, "is no earlier submission" in done.stderr) == (2, True)
    shutil.rmtree(in_the_way)
    for _ in range(2):  # an earlier submission is replaced
        done = world.recbench("leaderboard", "submit", "own")
        assert done.returncode == 0, done.stderr
        assert "2 new runs, 2 records, checked and verified" in done.stdout
    assert list((checkout / "leaderboards").iterdir()) == []
    done = world.recbench("leaderboard", "submit", "own", "--checkout", str(checkout))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (checkout / "leaderboards").iterdir()} == {"own", "index.html"}
    assert discover(checkout).path == checkout
