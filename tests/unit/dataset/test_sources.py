"""Raw formats with odd rows in them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from recbench.base.progress import Silent
from recbench.dataset.card import Format, RawFile, Source
from recbench.dataset.sources import READERS, RawLog
from recbench.dataset.sources.raw import ItemText, Listed
from recbench.errors import DataError

NAMES: Mapping[Format, tuple[str, str]] = {
    "normalised": ("interactions.csv.gz", "items.csv.gz"),
    "amazon14": ("reviews.json.gz", "meta.json.gz"),
    "amazon18": ("reviews.json.gz", "meta.json.gz"),
    "amazon23": ("reviews.jsonl.gz", "meta.jsonl.gz"),
    "movielens": ("ratings.dat", "movies.dat"),
    "atomic": ("tiny.inter", "tiny.item"),
}


def source(format_: Format, *, title: str = "title", categories: str = "categories") -> Source:
    interactions, items = (RawFile(name=name) for name in NAMES[format_])
    return Source(
        format=format_,
        folder="",
        interactions=interactions,
        items=items,
        title=title,
        categories=categories,
    )


def write(path: Path, text: str | bytes) -> Path:
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(
    format_: Format,
    folder: Path,
    interactions: str | bytes,
    items: str | bytes,
    *,
    title: str = "title",
    categories: str = "categories",
) -> RawLog:
    first, second = NAMES[format_]
    return READERS[format_](
        source(format_, title=title, categories=categories),
        {"interactions": write(folder / first, interactions), "items": write(folder / second, items)},
        report=Silent(),
    )


def review(user: object, item: object, time: object) -> str:
    return json.dumps({"reviewerID": user, "asin": item, "unixReviewTime": time, "reviewText": "fine"})


def test_normalised_files_give_times_positions_and_texts(tmp_path: Path) -> None:
    raw = read(
        "normalised",
        tmp_path,
        "user_id,item_id,position,timestamp\n7,1,0,100\n\n7,2,1,100.0\n",
        'item_id,title,categories\n1,"Chess, the  game",Board\n2,,\n',
    )
    assert (list(raw.user_ids), list(raw.item_ids)) == (["7", "7"], ["1", "2"])
    assert raw.timestamps is not None
    assert raw.positions is not None
    assert raw.timestamps.tolist() == [100, 100]
    assert raw.positions.tolist() == [0, 1]
    assert raw.items == {"1": ItemText("Chess, the game", "Board"), "2": ItemText("", "")}


def test_normalised_files_may_lack_times_and_texts(tmp_path: Path) -> None:
    raw = read(
        "normalised",
        tmp_path,
        "\ufeffuser_id,item_id,position\r\na,x,3\r\n",
        "item_id\nx\n",
        title="",
        categories="",
    )
    assert raw.timestamps is None
    assert raw.items == {"x": ItemText("", "")}


def test_atomic_files_have_typed_headers_and_no_quoting(tmp_path: Path) -> None:
    raw = read(
        "atomic",
        tmp_path,
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t9\t3\t881250949.0\n",
        'item_id:token\tmovie_title:token_seq\tclass:token_seq\n9\t"Dr. No\tAction  Thriller\n',
        title="movie_title",
        categories="class",
    )
    assert raw.positions is None
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [881250949]
    assert raw.items == {"9": ItemText('"Dr. No', "Action Thriller")}


def test_amazon_files_count_bad_lines_and_clean_texts(tmp_path: Path) -> None:
    metadata = [
        {
            "asin": "B1",
            "title": " Pac&amp;Man\n 2 ",
            "category": ["Games", "Retro &gt; Fun", "<b>big</b>", "X"],
        },
        {"asin": "B2", "category": [f"L{n}" for n in range(7)]},
        {"asin": "B9", "title": "nobody bought it"},
        {"asin": "B1", "title": ""},
    ]
    raw = read(
        "amazon18",
        tmp_path,
        "\n".join([review("u", "B1", 5), "{not json", review("u", "B2", "6"), "[1, 2]", "[" * 100_000]),
        "\n".join(json.dumps(row) for row in metadata) + "\nnull\n",
        categories="category",
    )
    assert raw.items == {
        "B1": ItemText("Pac&Man 2", "Games > Retro > Fun"),
        "B2": ItemText("", "L0 > L1 > L2 > L3 > L4"),
    }
    assert list(raw.item_ids) == ["B1", "B2"]
    # three bad lines among the reviews, one among the metadata
    assert raw.counts == {"bad_json_lines": 4, "repeated_items": 1}


HEADER = "user_id,item_id,position,timestamp\n"
BAD_ROWS: list[tuple[Format, str | bytes, str]] = [
    ("normalised", HEADER + "1,2,0,5\n1,2\n", r":3: 2 fields where the header has 4"),
    ("normalised", HEADER + "1,2,0,5,6\n", r":2: 5 fields where the header has 4"),
    ("normalised", HEADER + "1,2,0,noon\n", r":2: timestamp = 'noon' is not a number"),
    ("normalised", HEADER + "1,2,0,nan\n", r":2: timestamp = 'nan' is not a number"),
    ("normalised", HEADER + "1,2,0,1e400\n", r":2: timestamp = '1e400' is out of range"),
    ("normalised", HEADER + "1,2,0,1_600_000_000\n", r":2: timestamp = '1_600_000_000' is not a number"),
    ("normalised", HEADER + "1,2,0,\uff11\uff16\n", r":2: timestamp = '\uff11\uff16' is not a number"),
    (
        "normalised",
        HEADER + "1,2,0,16.0000000000000000001\n",
        r":2: timestamp = '16\S+' is not a whole number",
    ),
    ("normalised", HEADER + "1,2\0,0,5\n", r":2: item_id = '2\\x00' has a control character"),
    ("normalised", HEADER + "\x1b[2J,2,0,5\n", r":2: user_id = '\\x1b\[2J' has a control character"),
    ("normalised", HEADER + "1,2,0,5.5\n", r":2: timestamp = '5.5' is not a whole number"),
    ("normalised", HEADER + "1,2,0,9223372036854775808\n", r":2: timestamp = '9\d+' is out of range"),
    ("normalised", HEADER + "1,,0,5\n", r":2: item_id is empty"),
    ("normalised", HEADER + '1,"2,0,5\n', r":2: unexpected end of data"),
    ("normalised", HEADER.encode() + b"1,2,0,5\n\xff,2,0,5\n", r":3: not UTF-8"),
    ("normalised", "user,item_id,position\n", r":1: no column 'user_id'"),
    ("normalised", "user_id,item_id\n", r":1: neither a column 'timestamp' nor 'position'"),
    ("normalised", "", r":1: neither a column 'timestamp' nor 'position'"),
    ("atomic", "user_id:token\titem_id:token\n1\t2\n", r":1: no column 'timestamp'"),
    ("amazon18", review("u", "B1", 5) + '\n{"asin": "B1"}\n', r":2: no value for 'reviewerID'"),
    ("amazon18", review(None, "B1", 5), r":1: no value for 'reviewerID'"),
    (
        "amazon18",
        review("u", "B1", 1_588_687_728_923),
        r":1: unixReviewTime = '15\d+' is not a Unix time",
    ),
    (
        "normalised",
        HEADER + "1,2,0,-99999999999\n",
        r":2: timestamp = '-9+' is not a Unix time\nat 1 a second",
    ),
    ("amazon18", review("u", "B1", "soon"), r":1: unixReviewTime = 'soon' is not a number"),
]


@pytest.mark.parametrize(("format_", "interactions", "message"), BAD_ROWS)
def test_a_malformed_row_is_named_by_file_and_line(
    tmp_path: Path, format_: Format, interactions: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=NAMES[format_][0] + message):
        read(format_, tmp_path, interactions, "item_id,title,categories\n")


def test_a_title_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items\.csv\.gz:1: no column 'title'"):
        read("normalised", tmp_path, HEADER + "1,2,0,5\n", "item_id,name\n2,x\n")


@pytest.mark.parametrize("format_", ["normalised", "amazon18"])
def test_a_truncated_gzip_file_is_refused_with_the_line_reached(tmp_path: Path, format_: Format) -> None:
    rng = random.Random(0)
    rows = [(rng.getrandbits(60), rng.getrandbits(60), n) for n in range(2000)]
    texts: Mapping[Format, str] = {
        "normalised": "user_id,item_id,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows),
        "amazon18": "\n".join(review(str(u), str(i), t) for u, i, t in rows),
    }
    whole = gzip.compress(texts[format_].encode())
    first, second = (tmp_path / name for name in NAMES[format_])
    first.write_bytes(whole[: len(whole) // 2])
    write(second, "item_id,title,categories\n")
    with pytest.raises(DataError, match=rf"{first.name}:\d{{3,}}: the gzip file is damaged or cut off"):
        READERS[format_](source(format_), {"interactions": first, "items": second}, report=Silent())
    first.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=rf"{first.name}:1: the gzip file is damaged"):
        READERS[format_](source(format_), {"interactions": first, "items": second}, report=Silent())


def test_amazon_2014_metadata_are_printed_dictionaries_with_paths_of_categories(tmp_path: Path) -> None:
    lines = [
        "{'asin': 'B1', 'title': 'Tom &amp; Jerry', 'categories': [['Toys', 'Games &amp; more'], ['Other']]}",
        "{'asin': 'B2', 'categories': []}",
        "{'asin': 'B3', 'title': open('x')}",  # no literal: must not run
        "{'asin': 'B1', 'title': 'Tom'}",
        "__import__('os').abort()",
        "{'cut off",
        "('a', 'tuple')",
        "{[1]: 'a list has no hash'}",
    ]
    reviews = [
        review("u1", "B1", 10),
        review("u1", "B2", 9),
        '{"cut',
        review("u2", "B9", 3),
        review("u1", "B3", 2),
    ]
    raw = read("amazon14", tmp_path, "\n".join(reviews), "\n".join(lines))
    assert raw.items == {"B1": ItemText("Tom & Jerry", "Toys > Games & more"), "B2": ItemText("", "")}
    assert raw.counts == {"bad_json_lines": 6, "repeated_items": 1}
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [10, 9, 3, 2]


def test_amazon_2023_has_parents_and_milliseconds(tmp_path: Path) -> None:
    rows = [
        {"user_id": "u1", "asin": "B1x", "parent_asin": "B1", "timestamp": 1_588_687_728_923},
        {"user_id": "u1", "asin": "B2x", "parent_asin": "B2", "timestamp": 1_588_687_728_001},
    ]
    products = [
        {"parent_asin": "B1", "title": "A  game", "categories": ["Games", "PC"]},
        {"parent_asin": "B2", "title": None, "categories": []},
        {"parent_asin": "B7", "title": "never bought", "categories": []},
    ]
    raw = read("amazon23", tmp_path, "\n".join(map(json.dumps, rows)), "\n".join(map(json.dumps, products)))
    assert list(raw.item_ids) == ["B1", "B2"]
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [1_588_687_728_923, 1_588_687_728_001]
    assert raw.ticks == 1000
    assert raw.items == {"B1": ItemText("A game", "Games > PC"), "B2": ItemText("", "")}


def test_movielens_has_double_colons_and_latin_letters(tmp_path: Path) -> None:
    ratings = "1::10::5::978300760\r\n1::20::1::978300761\n\n"
    films = "10::Léon: The Professional (1994)::Crime|Drama\n20::Misérables, Les (1995)::Drama\n"
    raw = read("movielens", tmp_path, ratings, films.encode("latin-1"))
    assert (list(raw.user_ids), list(raw.item_ids)) == (["1", "1"], ["10", "20"])
    assert raw.items["10"] == ItemText("Léon: The Professional (1994)", "Crime Drama")
    with pytest.raises(DataError, match=r"ratings\.dat:2: 3 fields, expected 4"):
        read("movielens", tmp_path, "1::2::3::4\n1::2::3\n", films.encode("latin-1"))
    with pytest.raises(DataError, match=r"ratings\.dat:1: time = 'May' is not a number"):
        read("movielens", tmp_path, "1::2::3::May\n", films.encode("latin-1"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,x,1\n a,y,2\n", "user_id = ' a' and 'a' are the same id 'a'"),
        ("a,caf\u00e9,1\na,cafe\u0301,2\n", "item_id = .* are the same id"),
        (" a,x,1\n a,y,2\n", None),
    ],
)
def test_ids_that_are_the_same_only_after_cleaning_are_refused(
    tmp_path: Path, rows: str, message: str | None
) -> None:
    texts = ("user_id,item_id,timestamp\n" + rows, "item_id,title,categories\nx,X,\ny,Y,\n")
    if message is None:
        assert list(read("normalised", tmp_path, *texts).user_ids) == ["a", "a"]
        return
    with pytest.raises(DataError, match=rf"interactions\.csv\.gz:3: {message}"):
        read("normalised", tmp_path, *texts)


CANDIDATES_HEADER = "split,user_id,position,item_id,candidates\n"


def read_listed(folder: Path, rows: str) -> RawLog:
    files = {
        "interactions": write(folder / "interactions.csv", "user_id,item_id,position\na,1,0\na,2,1\n"),
        "items": write(folder / "items.csv", "item_id,title,categories\n1,,\n2,,\n3,,\n"),
        "candidates": write(folder / "candidates.csv", CANDIDATES_HEADER + rows),
    }
    return READERS["normalised"](source("normalised"), files, report=Silent())


def test_listed_steps_are_read_in_their_order(tmp_path: Path) -> None:
    raw = read_listed(tmp_path, "val,a,1,2,3 2 1\ntest,b,4,1,1 3\n")
    assert raw.listed == [
        Listed("valid", "a", "2", ("3", "2", "1")),
        Listed("test", "b", "1", ("1", "3")),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("val,a,1,2,3 1", "the target '2' is not among its 2 candidates"),
        ("val,a,1,2,2 3 3", "a candidate is listed twice"),
        ("train,a,1,2,2 3", "split = 'train' is neither val nor valid nor test"),
    ],
)
def test_a_malformed_list_is_named_by_file_and_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"candidates\.csv:2: {message}"):
        read_listed(tmp_path, row + "\n")
