"""A set of three users and three items, as Amazon's files and in the normalised form, and its splits."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
from pathlib import Path

from recbench.dataset.card import DatasetCard, Expected, Filter, RawFile, Source
from recbench.dataset.prepare import prepare
from recbench.dataset.split import PreparedSplit
from recbench.protocol import get_protocol

PROTOCOL = dataclasses.replace(get_protocol("ilrec"), depth=3, cutoffs=(1, 3))
"""`ilrec` for sets of three items."""


# user, item, time; out of order, with a repeated pair (u2 B3), an item without metadata (B8), one
# without a title (B7), and a user with too few items (u4)
EVENTS = [
    ("u2", "B3", 40),
    ("u1", "B1", 10),
    ("u1", "B3", 30),
    ("u1", "B2", 20),
    ("u2", "B1", 10),
    ("u2", "B3", 20),
    ("u2", "B2", 30),
    ("u2", "B8", 35),
    ("u3", "B1", 10),
    ("u3", "B2", 10),
    ("u3", "B3", 10),
    ("u3", "B7", 99),
    ("u4", "B1", 10),
]


METADATA = [
    {"asin": "B1", "title": "Tom &amp; Jerry", "category": ["Games", "Retro"]},
    {"asin": "B2", "title": " Two\n words ", "category": []},
    {"asin": "B3", "title": "Three", "category": ["Games", "<span>x"]},
    {"asin": "B7", "category": []},
    {"asin": "B9", "title": "never bought", "category": []},
]


CLEAN = [
    ("u1", "B1", 0, 10),
    ("u1", "B2", 1, 20),
    ("u1", "B3", 2, 30),
    ("u2", "B1", 0, 10),
    ("u2", "B3", 1, 20),
    ("u2", "B2", 2, 30),
    ("u3", "B1", 0, 10),
    ("u3", "B2", 1, 10),
    ("u3", "B3", 2, 10),
]


def write_amazon(folder: Path, events: list[tuple[str, str, int]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"reviewerID": u, "asin": i, "unixReviewTime": t}) for u, i, t in events]
    rows.insert(2, '{"cut off')
    (folder / "reviews.json.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    metadata = "\n".join(json.dumps(row) for row in METADATA)
    (folder / "meta.json.gz").write_bytes(gzip.compress(metadata.encode()))


def write_normalised(folder: Path, interactions: list[tuple[str, str, int, int]]) -> None:
    """The clean form of the same data: no odd rows, chronological positions."""
    folder.mkdir(parents=True, exist_ok=True)
    items = [("B1", "Tom & Jerry", "Games > Retro"), ("B2", "Two words", ""), ("B3", "Three", "Games")]
    for name, header, rows in (
        ("interactions", ["user_id", "item_id", "position", "timestamp"], interactions),
        ("items", ["item_id", "title", "categories"], items),
    ):
        with gzip.open(folder / f"{name}.csv.gz", "wt", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            writer.writerows(rows)


def amazon_card(folder: Path) -> DatasetCard:
    source = Source(
        format="amazon18",
        folder=str(folder),
        categories="category",
        interactions=RawFile(name="reviews.json.gz"),
        items=RawFile(name="meta.json.gz"),
    )
    return DatasetCard(
        name="tiny",
        title="Tiny",
        noun="game",
        citation="",
        terms="",
        sources=(source,),
        filter=Filter(core=3, titled_items=True),
        expect=Expected(users=3, items=3, interactions=9),
    )


def normalised_card(folder: Path) -> DatasetCard:
    source = Source(
        format="normalised",
        folder=str(folder),
        interactions=RawFile(name="interactions.csv.gz"),
        items=RawFile(name="items.csv.gz"),
    )
    return dataclasses.replace(amazon_card(folder), sources=(source,))


def write_card(folder: Path) -> Path:
    path = folder / "tiny.toml"
    path.write_text(
        'name = "tiny"\ntitle = "T"\nnoun = "game"\ncitation = ""\nterms = ""\n[[sources]]\n'
        f'format = "normalised"\nfolder = "{folder / "clean"}"\n'
        'interactions = {name = "interactions.csv.gz"}\nitems = {name = "items.csv.gz"}\n'
    )
    return path


def made(card: DatasetCard, cache: Path, *, limit: int | None = None, seed: int = 0) -> PreparedSplit:
    return prepare(card, PROTOCOL, cache=cache, data_dir=None, limit_users=limit, data_seed=seed)
