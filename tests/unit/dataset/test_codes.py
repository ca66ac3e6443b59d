"""Semantic ids that come with a dataset, from the file to the identifiers of a fit."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.base.progress import Silent
from recbench.data import Catalogue
from recbench.dataset import card
from recbench.dataset.prepare import prepare
from recbench.dataset.sources import codes
from recbench.dataset.split import PreparedSplit, load_training
from recbench.errors import DataError, MissingError
from recbench.llm.items.identifiers import make_identifiers
from recbench.protocol import get_protocol
from recbench.settings import IdentifierSettings
from recbench.testing import toy_data

GIVEN = {str(item): [f"<a_{item % 3}>", f"<b_{item % 8}>"] for item in range(24)}
CARD = """
name = "small"
title = "Small"
noun = "thing"
citation = ""
terms = ""

[[sources]]
format = "normalised"
folder = "small"
title = ""
categories = ""

[sources.interactions]
name = "interactions.csv.gz"

[sources.items]
name = "items.csv.gz"

[sources.codes]
name = "semantic_ids.json.gz"
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write(text)
    return path


def read(tmp_path: Path, content: Any, items: list[str]) -> Any:
    text = content if isinstance(content, str) else json.dumps(content)
    return codes.read(write(tmp_path / "semantic_ids.json.gz", text), items, report=Silent()).tolist()


def prepared(tmp_path: Path, given: Any) -> PreparedSplit:
    """24 items without text, eight users."""
    folder = tmp_path / "data" / "small"
    rows = [f"{user},{(user * 3 + place) % 24},{place}" for user in range(8) for place in range(5)]
    write(folder / "interactions.csv.gz", "user_id,item_id,position\n" + "\n".join(rows))
    write(folder / "items.csv.gz", "item_id\n" + "\n".join(str(item) for item in range(24)))
    path = folder / "semantic_ids.json.gz"
    path.unlink(missing_ok=True)
    if given is not None:
        write(path, json.dumps(given))
    small = card.parse(CARD.encode(), path="small.toml")
    return prepare(small, get_protocol("ilrec"), cache=tmp_path / "cache", data_dir=tmp_path / "data")


def test_codes_are_read_in_the_order_of_the_catalogue(tmp_path: Path) -> None:
    content = {" b": ["<a_1>", "<b_20>"], "other": ["<a_9>", "<b_9>"], "a": ["<a_0>", "<b_3>"]}
    assert read(tmp_path, content, ["a", "b"]) == [[0, 3], [1, 20]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": ["<a_1>"]}, "no codes for 1 of 2 items"),
        ('{"a": ["<a_1>"], "b": ["<a_2>"], "b ": ["<a_3>"]}', "item 'b' has codes twice"),
        ({"a": ["<a_7>"], "b": ["<a_07>"]}, "the code '<a_07>' at level a"),
        ({"a": ["<a_7>", "<b_1>"], "b": ["<a_7>"]}, "item 'b' has another number of codes than item 'a'"),
        ({"a": ["<b_7>"], "b": ["<a_7>"]}, "the code '<b_7>' at level a"),
        ({"a": [7], "b": ["<a_7>"]}, "the code 7 at level a"),
        ({"a": [], "b": ["<a_7>"]}, r"has \[\] instead of a list of codes"),
        ({"a": {"<a_7>": 1}, "b": ["<a_7>"]}, "instead of a list of codes"),
        ('["a", "b"]', "not a JSON object"),
        ('{"a": [', "not valid JSON"),
    ],
)
def test_a_file_of_codes_that_is_wrong_is_refused_with_the_item(
    tmp_path: Path, content: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content, ["a", "b"])


def test_given_codes_travel_with_the_catalogue_and_its_digest(tmp_path: Path) -> None:
    without, given = prepared(tmp_path, None), prepared(tmp_path, GIVEN)
    other = prepared(tmp_path, {**GIVEN, "0": ["<a_2>", "<b_0>"]})
    assert load_training(without.folder).catalogue.codes is None
    codes = load_training(given.folder).catalogue.codes
    assert codes is not None
    assert codes.tolist() == [[item % 3, item % 8] for item in range(24)]
    assert without.digests["split"] == given.digests["split"]
    assert len({split.digests["catalogue"] for split in (without, given, other)}) == 3


def test_a_set_without_text_takes_given_codes_else_collaborative_vectors(tmp_path: Path) -> None:
    data = load_training(prepared(tmp_path, GIVEN).folder)
    made = make_identifiers(data, IdentifierSettings(collisions="share"))
    assert data.catalogue.codes is not None
    assert np.array_equal(made.codes, data.catalogue.codes)
    # all 24 pairs of i % 3 and i % 8
    assert {**made.statistics, "predictive_gain": None} == {
        "predictive_gain": None,
        "source": "given",
        "collision_rate": 0.0,
        "codes_per_level": [3, 8],
        "num_collided": 0,
        "num_moved": 0,
    }
    data = load_training(prepared(tmp_path, None).folder)
    made = make_identifiers(data, IdentifierSettings(codes=4, levels=2))
    assert (made.facts["source"], made.facts["embedding"]) == ("residual-kmeans", "collaborative")


def test_given_codes_that_collide_are_shared_or_resolved_and_counted() -> None:
    catalogue = Catalogue(
        item_ids=("a", "b", "c"),
        titles=("", "", ""),
        categories=("", "", ""),
        popularity=np.zeros(3, dtype=np.int64),
        codes=np.array([[1, 5], [1, 5], [2, 0]]),
    )
    data = replace(toy_data(num_items=3), catalogue=catalogue)
    shared = make_identifiers(data, IdentifierSettings(source="given", collisions="share"))
    resolved = make_identifiers(data, IdentifierSettings(source="given", collisions="resolve"))
    assert shared.num_collided == 2
    assert shared.facts["collision_rate"] == pytest.approx(1 / 3)
    assert resolved.codes.tolist() == [[1, 5], [1, 0], [2, 0]]
    assert (resolved.num_collided, resolved.num_moved) == (0, 1)


def test_missing_given_codes_are_said(tmp_path: Path) -> None:
    data = load_training(prepared(tmp_path, None).folder)
    with pytest.raises(MissingError, match="came without semantic ids"):
        make_identifiers(data, IdentifierSettings(source="given"))
