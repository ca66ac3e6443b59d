"""From raw files to a split on disk: what is held out, what is counted, and which files appear."""

from __future__ import annotations

import dataclasses
import gzip
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from recbench.data import Ragged
from recbench.dataset import card as cards
from recbench.dataset.card import Filter
from recbench.dataset.split import PreparedSplit, load_requests, load_targets, load_training, load_users
from tests.unit.dataset.conftest import (
    CLEAN,
    EVENTS,
    amazon_card,
    made,
    normalised_card,
    write_amazon,
    write_card,
    write_normalised,
)


def test_the_last_two_items_of_each_user_are_held_out(tmp_path: Path) -> None:
    write_amazon(tmp_path / "raw", EVENTS)
    split = made(amazon_card(tmp_path / "raw"), tmp_path / "cache")
    data = load_training(split.folder)
    assert load_users(split.folder) == ("u1", "u2", "u3")
    assert data.catalogue.item_ids == ("B1", "B2", "B3")
    assert data.catalogue.titles == ("Tom & Jerry", "Two words", "Three")
    assert data.catalogue.categories == ("Games > Retro", "", "Games")
    assert named_rows(split, data.sequences) == [["B1"], ["B1"], ["B1"]]
    assert data.catalogue.popularity.tolist() == [3, 0, 0]
    assert data.valid.target.tolist() == [1, 2, 1]
    assert load_targets(split.folder, "test").tolist() == [2, 1, 2]
    assert data.history == 20
    assert dict(data.digests) == split.digests


def named_rows(split: PreparedSplit, rows: Ragged) -> list[list[str]]:
    ids = load_training(split.folder).catalogue.item_ids
    return [[ids[item] for item in row] for row in rows]


def test_statistics_count_every_rule_and_the_tied_targets(tmp_path: Path) -> None:
    write_amazon(tmp_path / "raw", EVENTS)
    split = made(amazon_card(tmp_path / "raw"), tmp_path / "cache")
    assert split.statistics.rules == {
        "bad_json_lines": 1,
        "repeated_items": 0,
        "rows_without_metadata": 1,
        "rows_without_title": 1,
        "repeated_pairs": 1,
        "rows_below_core": 1,  # the one row of u4
        "short_users": 0,
        "rows_of_short_users": 0,
        "empty_titles": 0,
    }
    assert split.statistics.tied_targets == {"valid": 1, "test": 1}  # u3 did everything at 10
    assert split.statistics.density == 9 / (3 * 3)
    assert (split.num_users, split.num_items, split.noun, split.source) == (3, 3, "game", "amazon18")


def test_a_limit_draws_users_and_keeps_the_catalogue(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    card = normalised_card(tmp_path / "clean")
    whole, part = made(card, tmp_path / "cache"), made(card, tmp_path / "cache", limit=2)
    assert set(load_users(part.folder)) < set(load_users(whole.folder))
    assert len(load_training(part.folder).sequences) == len(load_requests_test(part)) == part.num_users == 2
    assert part.num_items == len(load_training(part.folder).catalogue) == 3
    assert part.statistics.users == 3
    assert part.digests["log"] == whole.digests["log"]
    assert part.digests["split"] != whole.digests["split"]
    assert made(card, tmp_path / "cache", limit=3).digests == whole.digests


def load_requests_test(split: PreparedSplit) -> Ragged:
    return load_requests(split.folder, "test", exclude_seen=False).history


COUNT_OPENS = """
import sys
from dataclasses import replace
from pathlib import Path
from recbench.dataset.card import parse
from recbench.dataset.prepare import prepare, verify
from recbench.protocol import get_protocol
opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
card = parse(Path(sys.argv[1]).read_bytes(), path=sys.argv[1])
for _ in range(2):
    split = prepare(card, replace(get_protocol("ilrec"), depth=3), cache=Path(sys.argv[2]), data_dir=None)
    print(sum(name.endswith("interactions.csv.gz") for name in opened), split.folder)
    opened.clear()
"""


def test_a_second_call_finds_the_split_without_reading_the_rows(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    arguments = [str(write_card(tmp_path)), str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-c", COUNT_OPENS, *arguments], capture_output=True, text=True, check=True
    )
    (first, folder), (second, again) = (line.split() for line in done.stdout.splitlines())
    # to hash it, for its header and for its rows; the second time only to hash it
    assert (int(first), int(second)) == (3, 1)
    assert folder == again


def test_a_split_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    split = made(normalised_card(tmp_path / "clean"), tmp_path / "cache")
    assert list((tmp_path / "cache" / "split").iterdir()) == [split.folder]
    assert len(split.folder.name) == 12
    files = json.loads((split.folder / "split.json").read_text())["files"]
    assert set(files) | {"split.json"} == {path.name for path in split.folder.iterdir()}


def test_only_one_file_holds_the_test_targets(tmp_path: Path) -> None:
    """Where nothing but the test items differs, only their file (and the digests) do."""
    folder = tmp_path / "clean"
    more = [*CLEAN, ("u1", "B4", 3, 50), ("u2", "B4", 3, 50), ("u3", "B5", 3, 50)]
    other = [*CLEAN, ("u1", "B4", 3, 50), ("u2", "B5", 3, 50), ("u3", "B4", 3, 50)]
    card = dataclasses.replace(normalised_card(folder), filter=Filter(), expect=None)
    contents = []
    for rows in (more, other):
        write_normalised(folder, rows)
        with gzip.open(folder / "items.csv.gz", "at") as stream:
            stream.write("B4,Four,\nB5,Five,\n")
        split = made(card, tmp_path / "cache")
        contents.append({path.name: path.read_bytes() for path in split.folder.iterdir()})
    assert {name for name in contents[0] if contents[0][name] != contents[1][name]} == {
        "targets_test.npz",
        "split.json",
    }


def has_recbole() -> bool:
    try:
        importlib.metadata.distribution("recbole")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(not has_recbole(), reason="the package recbole carries the files of ml-100k")
def test_ml_100k_has_its_published_counts_and_415_tied_test_items(tmp_path: Path) -> None:
    split = made(cards.find("ml-100k", None), tmp_path)
    numbers = split.statistics
    assert (numbers.users, numbers.items, numbers.interactions) == (943, 1682, 100_000)
    assert numbers.training_targets == 100_000 - 3 * 943
    assert numbers.tied_targets == {"valid": 599, "test": 415}
    data = load_training(split.folder)
    assert data.catalogue.titles[:2] == ("Toy Story", "GoldenEye")
    assert load_users(split.folder)[:3] == ("1", "2", "3")
