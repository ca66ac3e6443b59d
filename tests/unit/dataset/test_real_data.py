"""The cards and the datasets themselves, where they are at hand."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recbench.dataset import card as cards
from recbench.dataset.prepare import prepare
from recbench.dataset.split import load_requests, load_targets
from recbench.protocol import get_protocol

FOLDERS = {
    "game": "amazon18_games",
    "instrument": "amazon18_instruments",
    "toys": "amazon14_toys",
    "lastfm": "lastfm_llara",
}

needs_data = pytest.mark.skipif(
    "RECBENCH_DATA" not in os.environ, reason="RECBENCH_DATA names no folder with the data"
)


def data_dir() -> Path:
    return Path(os.environ["RECBENCH_DATA"])


def test_the_sets_of_both_papers_have_cards() -> None:
    known = set(cards.available(None))
    assert {"instrument", "art", "game", "soft-game", "soft-movie", "soft-kindle"} < known
    assert {"lastfm", "toys", "beauty", "ml-1m", "ml-100k", "synthetic"} < known


@needs_data
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("game", "instrument") else [])
        for name in FOLDERS
    ],
)
def test_statistics_are_those_recorded_beside_the_files(tmp_path: Path, name: str) -> None:
    recorded = json.loads((data_dir() / FOLDERS[name] / "stats.json").read_text())
    split = prepare(cards.find(name, None), get_protocol("ilrec"), cache=tmp_path, data_dir=data_dir())
    ours = split.statistics.to_json()
    same = ("users", "items", "interactions", "items_with_title", "distinct_titles")
    got = {key: ours[key] for key in same} | {
        "sparsity": round(1 - ours["density"], 6),
        "seq_len": {**ours["sequence_length"], "mean": round(ours["sequence_length"]["mean"], 3)},
        "item_freq": {key: ours["item_frequency"][key] for key in ("min", "median", "max")},
        "duplicate_user_item_pairs": ours["rules"]["repeated_pairs"],
        "items_listed": ours["items"],
    }
    if "title_words" in recorded:
        words = ours["title_words"]
        got["title_words"] = {"mean": round(words["mean"], 2), "max": words["max"]}
    if "time_range_utc" in recorded:
        got["time_range_utc"] = ours["time_range"]
        got["timestamped_interactions"] = ours["interactions"]
        got["items_with_categories"] = ours["items_with_categories"]
    if "candidate_rows" in recorded:
        got["candidate_rows"] = {"val": ours["listed_steps"]["valid"], "test": ours["listed_steps"]["test"]}
    assert got == {key: recorded[key] for key in got}


@needs_data
def test_lastfm_is_divided_as_its_source_divides_it(tmp_path: Path) -> None:
    recorded = json.loads((data_dir() / FOLDERS["lastfm"] / "stats.json").read_text())
    card = cards.find("lastfm", None)
    split = prepare(card, get_protocol("candidates"), cache=tmp_path, data_dir=data_dir())
    ours = split.statistics.to_json()
    assert ours["training_users"] == recorded["split_users"]["train"]
    assert ours["training_interactions"] == recorded["split_interactions"]["train"]
    assert ours["requests"] == {
        "valid": recorded["split_users"]["val"],
        "test": recorded["split_users"]["test"],
    }
    requests = load_requests(split.folder, "test", exclude_seen=False)
    assert requests.allowed is not None
    assert set(requests.allowed.lengths.tolist()) == {20}
    for listed, target in zip(requests.allowed, load_targets(split.folder, "test"), strict=True):
        assert target in listed


DIGESTS = """
import json, locale, sys
from pathlib import Path
from recbench.dataset import card
from recbench.dataset.prepare import prepare
from recbench.protocol import get_protocol
locale.setlocale(locale.LC_ALL, "")
name, cache, data = sys.argv[1:]
split = prepare(card.find(name, None), get_protocol("ilrec"), cache=Path(cache), data_dir=Path(data))
print(json.dumps(split.digests))
"""


def shuffled(source: Path, target: Path) -> None:
    """The same files with their rows, and the entries of the given codes, in another order."""
    target.mkdir(parents=True)
    for path in source.glob("*.csv.gz"):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        random.Random(4).shuffle(rows)
        with gzip.open(target / path.name, "wt", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([header, *rows])
    for path in source.glob("*.json.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            entries = list(json.load(stream).items())
        random.Random(4).shuffle(entries)
        with gzip.open(target / path.name, "wt", encoding="utf-8") as stream:
            json.dump(dict(entries), stream)


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_digests_are_the_same_in_another_world(tmp_path: Path, name: str) -> None:
    shuffled(data_dir() / FOLDERS[name], tmp_path / "data" / FOLDERS[name])
    other = {**os.environ, "LC_ALL": "C", "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-c", DIGESTS, name, str(tmp_path / "cache"), str(tmp_path / "data")]
    done = subprocess.run(command, env=other, capture_output=True, text=True, check=True)
    here = prepare(
        cards.find(name, None), get_protocol("ilrec"), cache=tmp_path / "here", data_dir=data_dir()
    )
    there = json.loads(done.stdout)
    shutil.rmtree(tmp_path / "data")
    assert {link for link in there if there[link] != here.digests[link]} == {"raw"}
