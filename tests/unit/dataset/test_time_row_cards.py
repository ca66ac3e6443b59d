"""The cards of sets that are cut into rows by time, on made-up files of their raw format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recbench.dataset import card as cards
from recbench.dataset.card import DatasetCard, Expected
from recbench.dataset.prepare import prepare
from recbench.dataset.split import load_requests, load_targets, load_training
from recbench.errors import CheckError
from recbench.protocol import get_protocol

RULES = replace(get_protocol("time-rows"), depth=5, cutoffs=(1, 5))
USERS, ITEMS, LENGTH = 12, 8, 10
FIRST = datetime(2018, 1, 1, tzinfo=UTC)
TITLES = {"B6": "Saw", "X1": "", "X2": "x", "X3": "word " * 21, "X4": '<span id="a">', "B7": "word " * 20}


def reviews() -> Iterator[tuple[str, str, datetime]]:
    """Each user reviews ten times, the first item twice, in steps of five days; beside it what is dropped."""
    for user in range(USERS):
        for place in range(LENGTH):
            item = user if place == LENGTH - 1 else user + place
            yield f"U{user}", f"B{item % ITEMS}", FIRST + timedelta(days=user + 5 * place)
    for title in ("X1", "X2", "X3", "X4"):
        yield "U0", title, FIRST
    yield "U1", "B0", datetime(1996, 9, 30, 23, 59, tzinfo=UTC)
    yield "U1", "B0", datetime(2018, 11, 1, 0, 0, 1, tzinfo=UTC)
    yield "U99", "B0", FIRST  # below the core


def write(folder: Path, card: DatasetCard) -> None:
    [source] = card.sources
    place = folder / source.folder
    place.mkdir(parents=True)
    rows = [
        {"overall": 5.0, "reviewerID": user, "asin": item, "unixReviewTime": int(at.timestamp())}
        for user, item, at in reviews()
    ]
    products = [
        {"asin": item, "title": TITLES.get(item, f"Steel &amp; screw {item}").strip(), "category": ["Tools"]}
        for item in sorted({item for _, item, _ in reviews()})
    ]
    for file, records in ((source.interactions, rows), (source.items, products)):
        text = "\n".join(json.dumps(record) for record in records)
        (place / file.name).write_bytes(gzip.compress(text.encode()))


@pytest.mark.parametrize("name", ["industrial", "office"])
def test_a_card_reads_filters_and_cuts_its_raw_files(tmp_path: Path, name: str) -> None:
    card = cards.find(name, None)
    write(tmp_path, card)
    known = replace(card, expect=Expected(items=ITEMS, rows=USERS * (LENGTH - 1)))
    split = prepare(known, RULES, cache=tmp_path / "cache", data_dir=tmp_path)
    counts = split.statistics
    assert (counts.users, counts.items, counts.interactions) == (USERS, ITEMS, USERS * LENGTH)
    rules = counts.rules
    assert (rules["rows_without_title"], rules["rows_of_odd_title"]) == (1, 3)
    assert rules["rows_outside_window"] == 2
    assert rules["rows_below_core"] == 1
    assert rules["repeated_pairs_kept"] == 2 * USERS  # of ten, the last two are items of before
    # 108 rows: 86 train, 11 validate, 11 test
    assert counts.training_targets == 86
    assert dict(counts.requests) == {"valid": 11, "test": 11}
    requests = load_requests(split.folder, "test", exclude_seen=False)
    assert len(set(requests.user.tolist())) < len(requests) == len(load_targets(split.folder, "test"))
    assert requests.history.lengths.max() <= 10
    titles = load_training(split.folder).catalogue.titles
    assert "Saw" in titles
    assert "Steel & screw B0" in titles


@pytest.mark.parametrize("name", ["industrial", "office"])
def test_other_files_than_the_released_ones_are_refused_by_their_counts(tmp_path: Path, name: str) -> None:
    card = cards.find(name, None)
    write(tmp_path, card)
    assert "Nothing here has confirmed this card" in card.notes[0]
    with pytest.raises(CheckError, match="is not what its card expects") as refused:
        prepare(card, RULES, cache=tmp_path / "cache", data_dir=tmp_path)
    expected = {"industrial": ("3,686", "45,324"), "office": ("3,459", "48,656")}[name]
    assert f"items: expected {expected[0]}, got 8\nrows: expected {expected[1]}, got 108" in refused.value.why


def test_the_windows_are_those_of_the_released_files() -> None:
    seconds = {name: cards.find(name, None).filter.window for name in ("industrial", "office")}
    until = int(datetime(2018, 11, 1, tzinfo=UTC).timestamp())
    assert seconds["office"] == (1_475_280_000, until)  # the earliest time in the released files
    assert seconds["industrial"] == (int(datetime(1996, 10, 1, tzinfo=UTC).timestamp()), until)
