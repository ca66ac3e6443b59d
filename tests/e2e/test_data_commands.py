"""Datasets on the command line: import, export, stats, show, and a ranking that comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import World

OUTSIDER = """
import collections, json, sys
folder, out = sys.argv[1:]
read = lambda name: [json.loads(line) for line in open(f"{folder}/{name}.jsonl")]
counts = collections.Counter(item for row in read("train") for item in row["items"])
best = sorted(counts, key=lambda item: (-counts[item], int(item)))[:20]
with open(out, "w") as stream:
    for row in read("test"):
        stream.write(json.dumps({"user": row["user"], "items": best}) + "\\n")
"""


def test_a_ranking_made_by_a_stranger_stands_on_the_board(world: World, tmp_path: Path) -> None:
    """The stranger counts items, and so must tie with popularity in every user."""
    world.recbench("run", "-m", "counts", "-d", "toy")
    assert world.recbench("data", "export", "toy", "--to", str(tmp_path / "out")).returncode == 0
    ranking = tmp_path / "ranking.jsonl"
    subprocess.run([sys.executable, "-I", "-c", OUTSIDER, str(tmp_path / "out"), str(ranking)], check=True)
    done = world.recbench("import-ranking", str(ranking), "--name", "stranger", "-d", "toy", "--json")
    assert done.returncode == 0, done.stderr
    assert "warning: stranger: no split.json shows" in done.stderr
    record = str(tmp_path / "out" / "split.json")
    words = ("import-ranking", str(ranking), "--name", "stranger", "-d", "toy", "--split", record, "--json")
    done = world.recbench(*words)
    assert "warning" not in done.stderr
    assert world.recbench(*words, "--protocol", "candidates").returncode == 4
    run = json.loads(done.stdout)
    assert world.recbench("gc", "--all", "--dry-run").returncode == 0  # it has no costs
    assert run["external"] is True
    assert run["efficiency"] == {}
    board = json.loads(world.recbench("leaderboard", "build", "--json").stdout)
    rows = {row["label"]: row for row in board["tables"][0]["rows"]}
    assert rows["stranger"]["metrics"] == rows["counts"]["metrics"]
    # one checkpoint says nothing about its method, so it has no rank and no letters
    assert rows["stranger"]["scope"] == "these checkpoints only"
    assert board["tables"][0]["views"]["all"]["ndcg@10"]["letters"] == [None, None]
    assert rows["stranger"]["seconds"] is None
    assert rows["counts"]["seconds"] > 0
    assert board["tables"][0]["differs"] == {}  # where the stranger worked is not known
    compared = json.loads(world.recbench("compare", "stranger", "counts", "--json").stdout)
    assert compared["comparisons"][0]["difference"] == 0
    assert "stranger" in world.recbench("list", "runs").stdout
    assert "external" in world.recbench("show", run["id"]).stdout
    certain = world.recbench(*words, "--deterministic", "--name", "certain")
    assert json.loads(certain.stdout)["seed"] is None
    board = json.loads(world.recbench("leaderboard", "build", "--json").stdout)
    rows = {row["label"]: row for row in board["tables"][0]["rows"]}
    assert rows["certain"]["scope"] == "methods"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("import-ranking", "none.jsonl", "--name", "x", "-d", "toy"), 3, "none.jsonl is not there"),
        (("import-ranking", ".", "--name", "x", "-d", "toy"), 2, ". is a folder"),
        (("import-ranking", "none.jsonl", "--name", "counts", "-d", "toy"), 2, "try: --name my-counts"),
        (("import-ranking", "none.jsonl", "--name", "[red]", "-d", "toy"), 2, "'[red]' cannot name a row"),
        (
            ("import-ranking", "none.jsonl", "--name", "x", "-d", "toy", "--seed", "1", "--deterministic"),
            2,
            "--deterministic and --seed exclude each other",
        ),
        (("data", "export", "toy", "--to", "out", "--form", "json"), 2, "did you mean 'jsonl'?"),
        (("data", "import", "none.csv"), 2, "the new dataset has no name"),
        (("data", "import", "none.csv", "--name", "toy"), 2, "there is a dataset 'toy' already"),
        (("data", "import", "none.csv", "--name", "n", "--time-unit", "min"), 2, "no unit of time 'min'"),
        (("data", "import", "none.csv", "--name", "n"), 3, "none.csv is not there"),
        (("data", "import", "none.csv", "--name", "game", "--force"), 2, "comes with recbench"),
        (("data", "import", "none.csv", "--name", "counts"), 2, "is the name of a method or of a protocol"),
        (("run", "-m", "counts", "-d", "toy", "--protocol", "temporal"), 2, "needs timestamps"),
        (("data", "stats", "toy", "--html", "none/x.html"), 3, "none/x.html cannot be written"),
        (("data", "prepare", "art", "--offline"), 3, "raw files of dataset 'art' are not here"),
    ],
)
def test_a_wrong_request_says_what_is_meant(
    world: World, words: tuple[str, ...], code: int, text: str
) -> None:
    done = world.recbench(*words)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_csv_becomes_a_set_that_methods_run_on(world: World, tmp_path: Path) -> None:
    plays = tmp_path / "plays.csv"
    rows = [f"{u},{(3 * u + n) % 30},{1000 + 10 * u + n}" for u in range(40) for n in range(5)]
    plays.write_text("\n".join(["listener,song,heard", *rows, rows[0]]) + "\n")
    songs = tmp_path / "songs.csv"
    songs.write_text("song,title\n" + "".join(f"{song},Song {song % 29}\n" for song in range(30)))
    words = ["data", "import", str(plays), str(songs), "--name", "songs", "--noun", "song"]
    done = world.recbench(*words, "--user", "listener", "--item", "song", "--time", "heard")
    assert done.returncode == 0, done.stderr
    assert "warning: 1 item with the title of another item" in done.stderr
    assert "wrote" in done.stderr
    shown = json.loads(world.recbench("show", "songs", "--json").stdout)
    assert shown["noun"] == "song"
    assert shown["split"]["users"] == 40
    assert shown["expect"]["items"] == 30
    assert shown["example"]["history"][0].startswith("Song ")
    run = world.recbench("run", "-m", "counts", "-d", "songs", "--protocol", "temporal")
    assert run.returncode == 0, run.stderr


def test_a_set_of_too_few_items_is_not_imported_and_the_name_stays_free(world: World, tmp_path: Path) -> None:
    plays = tmp_path / "plays.csv"
    rows = [f"{u},{(u + n) % 15},{1000 + n}" for u in range(30) for n in range(5)]
    plays.write_text("\n".join(["user,item,time", *rows]) + "\n")
    words = ("data", "import", str(plays), "--name", "few")
    for _ in range(2):
        done = world.recbench(*words)
        assert done.returncode == 3
        assert "15 items are fewer than the 20 that are ranked" in done.stderr
    found = [path.name for path in world.root.path.rglob("*") if "few" in path.name]
    assert found == []


def test_a_card_that_cannot_be_read_does_not_hide_the_others(world: World) -> None:
    (world.root.path / "datasets" / "bad.toml").write_text("name = ")
    rows = {row["name"]: row for row in json.loads(world.recbench("list", "datasets", "--json").stdout)}
    assert rows["toy"]["title"] == "Made-up log"
    assert "bad.toml is not valid TOML" in rows["bad"]["title"]


@pytest.mark.parametrize("protocol", ["ilrec", "soft", "candidates", "temporal"])
def test_a_method_runs_under_every_protocol(world: World, protocol: str) -> None:
    done = world.recbench("run", "-m", "counts", "-d", "synthetic", "--protocol", protocol, "--json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)
    assert run["protocol"] == protocol
    assert 0 < run["metrics"]["hr@10"] < 1
    if protocol == "candidates":
        assert run["metrics"]["hr@10"] > 0.2  # ten of twenty


@pytest.mark.slow
def test_a_language_model_learns_from_the_targets_that_soft_draws(world: World) -> None:
    words = ("run", "-m", "sft", "-d", "synthetic", "--protocol", "soft", "--set", "train.epochs=1")
    done = world.recbench(*words, "--json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)
    # of 5,527 training targets 4,096 are drawn, each three codes and an end
    assert run["efficiency"]["counts"]["supervised_tokens"] == 4096 * 4
    assert run["protocol"] == "soft"
    assert 0 < run["metrics"]["hr@20"] < 1


def test_stats_are_drawn_on_the_terminal_and_as_a_page(world: World, tmp_path: Path) -> None:
    out = world.recbench("data", "stats", "synthetic").stdout
    assert "a tie of timestamps decides 0 of 600 valid targets (0.0%) and 0 of 600 test targets (0.0%)" in out
    assert "interactions of a user" in out
    assert "█" in out
    page = tmp_path / "stats.html"
    assert world.recbench("data", "stats", "synthetic", "--html", str(page)).returncode == 0
    assert "interactions of an item" in page.read_text(encoding="utf-8")
    facts = json.loads(world.recbench("data", "stats", "synthetic", "--json").stdout)
    assert sum(count for _, count in facts[0]["distributions"]["interactions of a user"]) == 600


def test_show_names_a_set_its_users_and_what_nobody_has_verified(world: World) -> None:
    out = world.recbench("show", "synthetic").stdout
    for text in ("Planted successors", "leave-one-out", "example history", "7,509"):
        assert text in out
    art = world.recbench("show", "art").stdout
    assert "(not verified)" in art
    assert "its files are not here; try: recbench data prepare art" in art
