"""One set in every raw format gives one split."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from recbench.dataset.card import DatasetCard, Format, RawFile, Source
from tests.unit.dataset.conftest import (
    CLEAN,
    EVENTS,
    METADATA,
    amazon_card,
    made,
    normalised_card,
    write_amazon,
    write_normalised,
)

PLAIN = [
    ("B1", "Tom & Jerry", "Games > Retro"),
    ("B3", "Three", "Games"),
    ("B2", " Two  words", ""),
    ("B7", "", ""),
]


def write_raw(format_: Format, folder: Path) -> DatasetCard:
    """EVENTS and METADATA as a format writes them, odd rows included, and the card that reads them."""
    folder.mkdir(parents=True)
    dashed = {
        "amazon14": ("reviewerID", "asin", "unixReviewTime"),
        "amazon23": ("user_id", "parent_asin", "timestamp"),
    }
    if format_ in dashed:
        user, item, time = dashed[format_]
        ticks = 1000 if format_ == "amazon23" else 1
        reviews = [json.dumps({user: u, item: i, time: t * ticks, "text": "fine"}) for u, i, t in EVENTS]
        products = []
        for row in METADATA:
            labels = [row["category"], ["Other"]] if format_ == "amazon14" else row["category"]
            product = {
                item: row["asin"],
                **({"title": row["title"]} if "title" in row else {}),
                "categories": labels,
            }
            products.append(repr(product) if format_ == "amazon14" else json.dumps(product))
        interactions, items = [*reviews[:3], "{cut off", *reviews[3:]], [*products, products[0], "[]"]
    elif format_ == "movielens":
        interactions = [f"{u}::{i}::5::{t}" for u, i, t in EVENTS]
        items = [f"{i}::{title}::{genres}" for i, title, genres in PLAIN]
    else:
        interactions = ["user_id:token\titem_id:token\ttimestamp:float"]
        interactions += [f"{u}\t{i}\t{float(t)}" for u, i, t in EVENTS]
        items = ["item_id:token\ttitle:token_seq\tcategories:token_seq"]
        items += [f"{i}\t{title}\t{genres}" for i, title, genres in PLAIN]
    for name, lines in (("interactions", interactions), ("items", items)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="latin-1")
    source = Source(
        format=format_,
        folder=str(folder),
        interactions=RawFile(name="interactions"),
        items=RawFile(name="items"),
    )
    return dataclasses.replace(amazon_card(folder), sources=(source,))


def test_raw_and_normalised_files_of_the_same_data_differ_only_in_the_raw_digest(tmp_path: Path) -> None:
    write_amazon(tmp_path / "raw", EVENTS)
    write_normalised(tmp_path / "clean", CLEAN)
    raw = made(amazon_card(tmp_path / "raw"), tmp_path / "cache")
    clean = made(normalised_card(tmp_path / "clean"), tmp_path / "cache")
    assert raw.folder != clean.folder
    assert {key for key in raw.digests if raw.digests[key] != clean.digests[key]} == {"raw"}
    for name in ("training.npz", "requests_test.npz", "targets_test.npz", "catalogue.json", "users.json"):
        assert (raw.folder / name).read_bytes() == (clean.folder / name).read_bytes()


@pytest.mark.parametrize("format_", ["amazon14", "amazon23", "movielens", "atomic"])
def test_every_raw_format_gives_the_set_of_the_normalised_form(tmp_path: Path, format_: Format) -> None:
    write_normalised(tmp_path / "clean", CLEAN)
    clean = made(normalised_card(tmp_path / "clean"), tmp_path / "cache")
    raw = made(write_raw(format_, tmp_path / "raw"), tmp_path / "cache")
    assert raw.source == format_
    assert {key for key in raw.digests if raw.digests[key] != clean.digests[key]} == {"raw"}
    rules = {rule: count for rule, count in raw.statistics.rules.items() if count}
    json_lines = {"bad_json_lines": 2, "repeated_items": 1} if format_.startswith("amazon") else {}
    assert rules == {
        "rows_without_metadata": 1,
        "rows_without_title": 1,
        "repeated_pairs": 1,
        "rows_below_core": 1,
        **json_lines,
    }
