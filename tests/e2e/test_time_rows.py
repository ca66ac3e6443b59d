"""Users who ask repeatedly, from the raw files to a board that somebody else checks."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recbench.protocol import REPEATED
from recbench.results import lookup
from tests.conftest import CARD

if TYPE_CHECKING:
    from pathlib import Path

    from recbench.results.bundle import Bundle
    from tests.conftest import World

NUM_USERS, NUM_ITEMS, DAYS = 40, 60, 400
METHODS = ("popularity", "transition", "sasrec", "sft")


def write_set(root: Path) -> None:
    """The card `repeats`: users go on to the last day, mostly to item 7 i + 3 after item i."""
    rng = np.random.default_rng(11)
    raw = root / "raw" / "repeats"
    raw.mkdir(parents=True)
    (root / "datasets" / "repeats.toml").write_text(
        CARD.replace('"toy"', '"repeats"') + "\n[filter]\nkeeps_repeats = true\n"
    )
    rows = ["user_id,item_id,timestamp"]
    for user in range(NUM_USERS):
        item = int(rng.integers(NUM_ITEMS))
        for day in np.sort(rng.integers(0, DAYS, rng.integers(8, 30))):
            rows.append(f"{user},{item},{day * 86_400}")
            item = (7 * item + 3) % NUM_ITEMS if rng.random() < 0.8 else int(rng.integers(NUM_ITEMS))
    with gzip.open(raw / "interactions.csv.gz", "wt") as stream:
        stream.write("\n".join(rows) + "\n")
    with gzip.open(raw / "items.csv.gz", "wt") as stream:
        stream.write("item_id,title,categories\n")
        stream.writelines(f"{item},thing {item},kind {item % 5}\n" for item in range(NUM_ITEMS))


def finished(world: World, *methods: str) -> list[Bundle]:
    words = [word for name in methods for word in ("-m", name)]
    ran = world.recbench(
        "run",
        *words,
        "-d",
        "repeats",
        "-b",
        "tiny",
        "--protocol",
        "time-rows",
        "--seeds",
        "2",
        "--set",
        "train.epochs=1",
        "--set",
        "identifiers.codes=8",
    )
    assert ran.returncode == 0, ran.stderr
    return lookup.every_run(world.root.runs, pytest.fail)


@pytest.mark.slow
def test_four_methods_are_run_compared_verified_and_put_on_a_board(world: World, tmp_path: Path) -> None:
    write_set(world.root.path)
    runs = finished(world, *METHODS)
    assert Counter(run.spec.fit.method for run in runs) == {
        "popularity": 1,
        "transition": 1,
        "sasrec": 2,
        "sft": 2,
    }
    first = runs[0]
    assert first.repeated
    users = first.num_users
    assert 10 < users < 0.6 * len(first.ranks)
    assert set(first.metrics) >= {"hr@50", "ndcg@3", "hr@1"}
    assert all(run.manifest.certified_share in (None, 1.0) for run in runs)

    labels = sorted({run.label for run in runs})
    compared = world.recbench("compare", *labels, "--json")
    assert compared.returncode == 0, compared.stderr
    text = world.recbench("compare", "transition", "popularity").stdout
    assert f"{users} users with {len(first.ranks)} requests" in text
    assert REPEATED in " ".join(text.split())
    assert "sign-flip permutation by user" in text
    assert "McNemar" not in compared.stdout
    assert compared.stdout.count(REPEATED) == 6  # of each of the six pairs

    for run in runs:
        verified = world.recbench("verify", run.id, "--users", "8")
        assert verified.returncode == 0, verified.stderr + verified.stdout
        assert "targets from the raw files" in verified.stdout

    table_of_users = world.root.path / "users.csv"
    scored = world.recbench("score", *(run.id for run in runs), "--strata", "--per-user", str(table_of_users))
    assert scored.returncode == 0, scored.stderr
    with table_of_users.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(runs) * len(first.ranks)
    assert max(int(line["request"]) for line in lines) > 3

    built = world.recbench("leaderboard", "build", "mine", "--reference", "popularity")
    assert built.returncode == 0, built.stderr
    folder = world.root.path / "leaderboards" / "mine"
    [table] = json.loads((folder / "board.json").read_text())["tables"]
    assert table["num_requests"] == len(first.ranks)
    assert table["views"]["all"]["ndcg@10"]["users"] == users
    for form in ("board.md", "board.tex", "index.html"):
        said = " ".join((folder / form).read_text().replace("&#39;", "'").split())
        assert REPEATED in said, form
        assert f"{len(first.ranks)} requests of {users} users" in said, form
    assert '"requests"' in (folder / "index.html").read_text()
    assert "mcnemar" not in (folder / "board.json").read_text().lower()

    elsewhere = tmp_path / "elsewhere"  # somebody else has the folders of boards and nothing more
    shutil.copytree(world.root.path / "leaderboards", elsewhere / "leaderboards")
    checked = world.recbench("leaderboard", "check", "mine", "--root", str(elsewhere))
    assert checked.returncode == 0, checked.stderr
    assert "6 records" in checked.stdout
