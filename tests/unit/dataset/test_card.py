"""Cards: which cards there are, and how a wrong card is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbench.dataset import card
from recbench.errors import DataError, UsageError

MINIMAL = """
name = "mine"
title = "Mine"
noun = "thing"
citation = "nobody"
terms = "none"

[[sources]]
format = "normalised"
folder = "mine"
interactions = {name = "interactions.csv.gz"}
items = {name = "items.csv.gz"}
"""


def write(root: Path, text: str, name: str = "mine") -> Path:
    path = root / "datasets" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(card.available(None)))
def test_every_built_in_card_is_complete(name: str) -> None:
    dataset = card.find(name, None)
    assert dataset.name == name
    assert dataset.citation
    assert dataset.terms
    assert dataset.used_by
    assert dataset.expect is not None or any(
        "nothing is expected of it yet" in note for note in dataset.notes
    )
    for source in dataset.sources:  # somebody, or something, says how to come by the files
        assert source.fix or source.generator or all(file.url for file in source.files.values())


def test_the_embedded_default_and_game_are_built_in() -> None:
    assert {"ml-100k", "game"} <= set(card.available(None))
    assert card.find("ml-100k", None).expect == card.Expected(users=943, items=1682, interactions=100_000)
    assert card.find("game", None).filter == card.Filter(core=5, titled_items=True)


def test_no_python_file_lies_beside_the_cards() -> None:
    folder = Path(str(card.available(None)["ml-100k"])).resolve().parent
    assert not list(folder.rglob("*.py"))


def test_a_users_own_card_is_found_with_defaults(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    mine = card.find("mine", tmp_path)
    assert mine.filter == card.Filter(core=0, titled_items=False)
    assert mine.expect is None
    assert (mine.sources[0].title, mine.sources[0].categories) == ("title", "categories")
    assert "mine" not in card.available(None)


def test_a_card_under_the_root_overrides_the_built_in_one(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL.replace('"mine"', '"game"'), name="game")
    assert card.find("game", tmp_path).title == "Mine"
    assert card.find("game", None).title != "Mine"


def test_an_unknown_data_set_is_told_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="no dataset 'gane'; did you mean 'game'") as refused:
        card.find("gane", None)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('noun = "thing"', "noun = thing", "not valid TOML"),
        ('noun = "thing"', "", "key 'noun' is missing"),
        ('noun = "thing"', 'nuon = "thing"', "unknown key 'nuon'; did you mean 'noun'"),
        ('noun = "thing"', "noun = 3", "noun = 3 is not str"),
        ('noun = "thing"', 'noun = "x"\nused_by = "y"', "used_by = 'y' is not a list"),
        ('noun = "thing"', 'noun = "x"\nfilter = 5', "filter = 5 is not a table"),
        ('noun = "thing"', 'noun = "x"\nfilter = {core = true}', r"filter\.core = True is not int"),
        (
            'noun = "thing"',
            'noun = "x"\npublished = [{paper = "p", users = 1, items = 1}]',
            r"'published\[0\]\.interactions' is missing",
        ),
        ('folder = "mine"', 'folder = "mine"\ncolour = 1', r"unknown key 'sources\[0\]\.colour'"),
        ('"normalised"', '"csv"', r"sources\[0\]\.format = 'csv'"),
        ('name = "mine"', 'name = "yours"', "name is 'yours'"),
        (MINIMAL[MINIMAL.index("[[") :], "sources = []", "sources is empty"),
    ],
)
def test_a_wrong_card_is_told_its_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MINIMAL
    path = write(tmp_path, MINIMAL.replace(old, new, 1))
    with pytest.raises(DataError, match=message) as refused:
        card.find("mine", tmp_path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("place", ["../x", "/etc", "a/../../b", "~/x", "a\\b", "a\x00b", "a\x1b[2J"])
@pytest.mark.parametrize("key", ["folder", "name", "member"])
def test_a_place_outside_the_data_folder_is_refused(tmp_path: Path, key: str, place: str) -> None:
    text = json.dumps(place)
    old, new = {
        "folder": ('folder = "mine"', f"folder = {text}"),
        "name": ('name = "items.csv.gz"', f"name = {text}"),
        "member": ('name = "items.csv.gz"', f'name = "items.csv.gz", member = {text}'),
    }[key]
    url = 'name = "interactions.csv.gz", url = "http://127.0.0.1:9/x", sha256 = "0"'
    write(tmp_path, MINIMAL.replace(old, new).replace('name = "interactions.csv.gz"', url))
    with pytest.raises(DataError, match="is not a place below the data folder"):
        card.find("mine", tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        'url = "file:///etc/passwd"',
        'url = "/etc/passwd"',
        'url = "http://127.0.0.1/x\\u001b[2J"',
        'url = "http://127.0.0.1/..", member = "x"',
        'url = "http://127.0.0.1/a/", member = "x"',
    ],
)
def test_an_address_that_is_none_of_a_file_on_the_web_is_refused(tmp_path: Path, address: str) -> None:
    file = f'name = "items.csv.gz", {address}, sha256 = "{"0" * 64}"'
    write(tmp_path, MINIMAL.replace('name = "items.csv.gz"', file))
    with pytest.raises(DataError, match="is not the address of a file on the web"):
        card.find("mine", tmp_path)


def test_a_source_that_is_only_read_may_be_anywhere(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL.replace('folder = "mine"', 'folder = "/data/mine"'))
    assert card.find("mine", tmp_path).sources[0].folder == "/data/mine"


def test_a_download_of_a_card_from_outside_needs_its_checksum(tmp_path: Path) -> None:
    url = 'name = "items.csv.gz", url = "http://127.0.0.1:9/items.csv.gz"'
    write(tmp_path, MINIMAL.replace('name = "items.csv.gz"', url))
    with pytest.raises(DataError, match="items has a url and no sha256"):
        card.find("mine", tmp_path)
    write(tmp_path, MINIMAL.replace('name = "items.csv.gz"', f'{url}, sha256 = "{"0" * 64}"'))
    assert card.find("mine", tmp_path).sources[0].items.sha256 == "0" * 64


def test_the_cards_of_a_checkout_are_recbenchs_own() -> None:
    checkout = Path(__file__).parents[3]
    for name in card.available(None):
        assert card.find(name, checkout) == card.find(name, None)


def test_a_negative_core_is_refused(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "\n[filter]\ncore = -1\n")
    with pytest.raises(DataError, match=r"filter\.core = -1 is negative"):
        card.find("mine", tmp_path)
