"""Raw formats with odd rows in them, the filter, and finding or fetching the files."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import random
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.card import DatasetCard, Filter, Format, RawFile, Source
from recbench.errors import DataError, MissingError
from recbench.method import Silent
from recbench.sources import READERS, RawLog
from recbench.sources.download import download
from recbench.sources.locate import locate
from recbench.sources.log import Log, core, filtered, ordered_ids
from recbench.sources.raw import ItemText, Listed

NAMES: Mapping[Format, tuple[str, str]] = {
    "normalised": ("interactions.csv.gz", "items.csv.gz"),
    "amazon14": ("reviews.json.gz", "meta.json.gz"),
    "amazon18": ("reviews.json.gz", "meta.json.gz"),
    "amazon23": ("reviews.jsonl.gz", "meta.jsonl.gz"),
    "movielens": ("ratings.dat", "movies.dat"),
    "atomic": ("tiny.inter", "tiny.item"),
}


def source(
    format_: Format,
    folder: Path | str = "",
    *,
    title: str = "title",
    categories: str = "categories",
    distribution: str = "",
    mend: str = "",
) -> Source:
    interactions, items = (RawFile(name=name) for name in NAMES[format_])
    return Source(
        format=format_,
        folder=str(folder),
        interactions=interactions,
        items=items,
        title=title,
        categories=categories,
        distribution=distribution,
        mend=mend,
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
        "\n".join([review("u", "B1", 5), "{not json", review("u", "B2", "6"), "[1, 2]", ""]),
        "\n".join(json.dumps(row) for row in metadata) + "\nnull\n",
        categories="category",
    )
    assert raw.items == {
        "B1": ItemText("Pac&Man 2", "Games > Retro > Fun"),
        "B2": ItemText("", "L0 > L1 > L2 > L3 > L4"),
    }
    assert list(raw.item_ids) == ["B1", "B2"]
    # two bad lines among the reviews, one among the metadata
    assert raw.counts == {"bad_json_lines": 3, "repeated_items": 1}


HEADER = "user_id,item_id,position,timestamp\n"
BAD_ROWS: list[tuple[Format, str | bytes, str]] = [
    ("normalised", HEADER + "1,2,0,5\n1,2\n", r":3: 2 fields where the header has 4"),
    ("normalised", HEADER + "1,2,0,5,6\n", r":2: 5 fields where the header has 4"),
    ("normalised", HEADER + "1,2,0,noon\n", r":2: timestamp = 'noon' is not a number"),
    ("normalised", HEADER + "1,2,0,nan\n", r":2: timestamp = 'nan' is not a number"),
    ("normalised", HEADER + "1,2,0,1e400\n", r":2: timestamp = '1e400' is not a number"),
    ("normalised", HEADER + "1,2,0,5.5\n", r":2: timestamp = '5.5' is not a whole number"),
    ("normalised", HEADER + "1,2,0,9223372036854775808\n", r":2: timestamp = '9\d+' is out of range"),
    ("normalised", HEADER + "1,,0,5\n", r":2: item_id is empty"),
    ("normalised", HEADER + '1,"2,0,5\n', r":2: unexpected end of data"),
    ("normalised", HEADER.encode() + b"1,2,0,5\n\xff,2,0,5\n", r":3: not UTF-8"),
    ("normalised", "user,item_id,position\n", r":1: no column 'user_id'"),
    ("normalised", "user_id,item_id\n", r":1: neither a column 'timestamp' nor 'position'"),
    ("normalised", "", r":1: neither a column 'timestamp' nor 'position'"),
    ("atomic", "user_id:token\titem_id:token\n1\t2\n", r":1: no column 'timestamp'"),
    ("amazon18", review("u", "B1", 5) + '\n{"asin": "B1"}\n', r":2: no key 'reviewerID'"),
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


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["10", "9", "a"], ["10", "9", "a"]),
        (["07", "7", "6"], ["6", "07", "7"]),
        (["ä", "b", "Z", "a"], ["Z", "a", "b", "ä"]),
        (["²", "10", "9"], ["10", "9", "²"]),  # a superscript is no decimal integer
    ],
)
def test_ids_compare_as_integers_only_if_all_are(ids: list[str], expected: list[str]) -> None:
    assert ordered_ids(ids) == expected


Row = tuple[str, str, int, int]  # user, item, timestamp, position


def raw_log(rows: list[Row], *, titles: Mapping[str, str]) -> RawLog:
    return RawLog(
        user_ids=[row[0] for row in rows],
        item_ids=[row[1] for row in rows],
        timestamps=np.array([row[2] for row in rows], dtype=np.int64),
        positions=np.array([row[3] for row in rows], dtype=np.int64),
        items={item: ItemText(title, "") for item, title in titles.items()},
        counts={},
    )


def sequences_of(log: Log) -> dict[str, list[str]]:
    return {
        user: [log.item_ids[item] for item in row]
        for user, row in zip(log.user_ids, log.sequences, strict=True)
    }


TITLES = {"10": "ten", "2": "two", "3": "three", "4": "", "5": "five"}


def test_order_is_time_then_position_then_item_id() -> None:
    rows = [("u", "10", 5, 1), ("u", "2", 5, 1), ("u", "3", 5, 0), ("u", "5", 1, 9)]
    log = filtered(raw_log(rows, titles=TITLES), Filter())
    assert sequences_of(log) == {"u": ["5", "3", "2", "10"]}
    assert log.item_ids == ("2", "3", "5", "10")
    assert log.moments.tolist() == [1, 5, 5, 5]


def test_every_rule_removes_and_counts_its_own_rows() -> None:
    rows = [
        ("a", "2", 1, 0),
        ("a", "3", 2, 0),
        ("a", "2", 9, 0),  # the first of a repeated pair stays
        ("a", "5", 3, 0),
        ("a", "99", 4, 0),  # not in the item table
        ("a", "4", 5, 0),  # in it without a title
        ("b", "2", 1, 0),  # two items only
        ("b", "10", 2, 0),
    ]
    log = filtered(raw_log(rows, titles=TITLES), Filter())
    assert sequences_of(log) == {"a": ["2", "3", "5", "4"]}
    assert log.counts == {
        "bad_json_lines": 0,
        "repeated_items": 0,
        "rows_without_metadata": 1,
        "rows_without_title": 0,
        "repeated_pairs": 1,
        "rows_below_core": 0,
        "short_users": 1,
        "rows_of_short_users": 2,
        "empty_titles": 1,
    }
    titled = filtered(raw_log(rows, titles=TITLES), Filter(titled_items=True))
    assert sequences_of(titled) == {"a": ["2", "3", "5"]}
    assert (titled.counts["rows_without_title"], titled.counts["empty_titles"]) == (1, 0)


def test_a_log_with_nothing_left_is_refused_with_the_counts() -> None:
    with pytest.raises(DataError, match="no interaction is left") as refused:
        filtered(raw_log([("a", "2", 1, 0)], titles=TITLES), Filter())
    assert "rows_of_short_users 1" in str(refused.value)
    with pytest.raises(DataError, match="nothing was read"):
        filtered(raw_log([], titles=TITLES), Filter())


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(TITLES)), st.integers(0, 3), st.integers(0, 2)),
    max_size=25,
)


@given(ROWS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(rows: list[Row], k: int, rng: random.Random) -> None:
    def outcome(rows: list[Row]) -> object:
        try:
            log = filtered(raw_log(rows, titles=TITLES), Filter(core=k))
        except DataError as error:
            return str(error)
        return sequences_of(log), log.moments.tolist(), log.counts

    shuffled = rng.sample(rows, len(rows))
    assert outcome(rows) == outcome(shuffled)


PAIRS = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30)


@given(PAIRS, st.integers(0, 4))
def test_core_equals_removing_one_weak_user_or_item_at_a_time(pairs: set[tuple[int, int]], k: int) -> None:
    left = set(pairs)
    while True:
        users, items = Counter(u for u, _ in left), Counter(i for _, i in left)
        weak = [(u, i) for u, i in left if users[u] < k or items[i] < k]
        if not weak:
            break
        left.discard(weak[0])
    rows = sorted(pairs)
    array = np.array(rows, dtype=np.int64).reshape(-1, 2)
    keep = core(array[:, 0], array[:, 1], k)
    assert {row for row, stays in zip(rows, keep, strict=True) if stays} == left


def card_of(*sources: Source) -> DatasetCard:
    return DatasetCard(name="tiny", title="T", noun="thing", citation="", terms="", sources=sources)


def test_missing_files_are_reported_with_every_place_and_the_mend(tmp_path: Path) -> None:
    card = card_of(
        source("normalised", "tiny", mend="get tiny"), source("atomic", "x", distribution="no-such-package")
    )
    with pytest.raises(MissingError) as refused:
        locate(card, data_dir=tmp_path / "data", cache=tmp_path / "cache", offline=True, report=Silent())
    text = str(refused.value)
    assert refused.value.exit_code == 3
    assert f"{tmp_path}/data/tiny/ (interactions.csv.gz and items.csv.gz)" in text
    assert f"{tmp_path}/cache/raw/tiny/" in text
    assert "package no-such-package, which is not installed" in text
    assert "try: get tiny" in text


def test_the_first_source_whose_files_are_here_is_taken(tmp_path: Path) -> None:
    for name in NAMES["atomic"]:
        (tmp_path / name).write_text(name)
    card = card_of(source("normalised", tmp_path), source("atomic", tmp_path))
    files = locate(card, data_dir=None, cache=tmp_path / "cache", offline=True, report=Silent())
    assert files.source.format == "atomic"
    assert files.sha256["items"] == hashlib.sha256(b"tiny.item").hexdigest()


def test_a_file_with_another_checksum_is_refused(tmp_path: Path) -> None:
    plain = source("atomic", tmp_path)
    for name in NAMES["atomic"]:
        (tmp_path / name).write_text(name)
    strict = dataclasses.replace(plain, items=RawFile(name="tiny.item", sha256="0" * 64))
    with pytest.raises(DataError, match=r"tiny\.item is not the file that card 'tiny' describes"):
        locate(card_of(strict), data_dir=tmp_path, cache=tmp_path, offline=True, report=Silent())


class Listening(Silent):
    """A reporter that remembers what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.last = (0, 0)

    def log(self, **values: float | int | str) -> None:
        self.messages.append(str(values.get("message")))

    def progress(self, stage: str, done: int, total: int) -> None:  # noqa: ARG002
        self.last = (done, total)


BODY = bytes(range(256)) * 40


class Serving(BaseHTTPRequestHandler):
    """Serves BODY under any path, honours ranges, and hangs up halfway under `/broken`."""

    def __init__(self, asked: list[str], *arguments: object) -> None:
        self.asked = asked
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they come

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if start >= len(BODY):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start : len(BODY) // 2 if self.path == "/broken" else None])

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Serving, asked)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()
        thread.join()


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    address, asked = server
    with pytest.raises(OSError, match="closed after 5,120 of 10,240 bytes"):
        download(RawFile(name="raw.bin", url=f"{address}/broken"), tmp_path, report=Silent())
    assert not (tmp_path / "raw.bin").exists()
    heard = Listening()
    known = hashlib.sha256(BODY).hexdigest()
    path = download(RawFile(name="raw.bin", url=f"{address}/whole", sha256=known), tmp_path, report=heard)
    assert path.read_bytes() == BODY
    assert asked == ["", "bytes=5120-"]
    assert heard.last == (len(BODY), len(BODY))
    assert [entry.name for entry in tmp_path.iterdir()] == ["raw.bin"]


def test_a_leftover_as_long_as_the_file_is_fetched_again(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    address, asked = server
    (tmp_path / "raw.bin.part").write_bytes(b"x" * len(BODY))
    path = download(RawFile(name="raw.bin", url=f"{address}/whole"), tmp_path, report=Silent())
    assert path.read_bytes() == BODY
    assert asked == ["bytes=10240-", ""]


def test_an_unverified_address_is_called_so_and_a_wrong_file_refused(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    heard = Listening()
    wrong = RawFile(name="raw.bin", url=f"{server[0]}/whole", sha256="0" * 64, verified=False)
    with pytest.raises(DataError, match="is not the file that the card describes"):
        download(wrong, tmp_path, report=heard)
    assert "nobody has verified this address" in heard.messages[0]
    assert not list(tmp_path.iterdir())


def on_the_web(address: str) -> Source:
    return dataclasses.replace(
        source("amazon18", "tiny"),
        interactions=RawFile(name="reviews.json.gz", url=f"{address}/reviews"),
        items=RawFile(name="meta.json.gz", url=f"{address}/meta"),
    )


def test_files_that_are_nowhere_are_downloaded_once(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    card = card_of(source("normalised", "tiny"), on_the_web(server[0]))
    fetch = partial(locate, card, data_dir=None, cache=tmp_path, report=Silent())
    assert fetch(offline=False).paths["interactions"] == tmp_path / "raw" / "tiny" / "reviews.json.gz"
    assert fetch(offline=True).source.format == "amazon18"
    assert len(server[1]) == 2


def test_offline_refuses_the_download_and_asks_nobody(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    card = card_of(on_the_web(server[0]))
    with pytest.raises(MissingError, match="without --offline"):
        locate(card, data_dir=None, cache=tmp_path, offline=True, report=Silent())
    assert server[1] == []


def test_an_address_that_does_not_answer_is_named(tmp_path: Path) -> None:
    card = card_of(on_the_web("http://127.0.0.1:9"))
    with pytest.raises(MissingError, match=r"127\.0\.0\.1:9/reviews \(nobody has verified .*refused"):
        locate(card, data_dir=None, cache=tmp_path, offline=False, report=Silent())


def test_amazon_2014_metadata_are_printed_dictionaries_with_paths_of_categories(tmp_path: Path) -> None:
    lines = [
        "{'asin': 'B1', 'title': 'Tom &amp; Jerry', 'categories': [['Toys', 'Games &amp; more'], ['Other']]}",
        "{'asin': 'B2', 'categories': []}",
        "{'asin': 'B3', 'title': open('x')}",  # no literal: must not run
        "{'asin': 'B1', 'title': 'Tom'}",
        "__import__('os').abort()",
        "{'cut off",
        "('a', 'tuple')",
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
    assert raw.counts == {"bad_json_lines": 5, "repeated_items": 1}
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
    assert raw.timestamps.tolist() == [1_588_687_728, 1_588_687_728]
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


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Listed("valid", "nobody", "2", ("2",)), "names user 'nobody', of whom no interaction is left"),
        (Listed("valid", "a", "2", ("2", "99")), "names item '99'"),
        (Listed("valid", "a", "1", ("1", "2")), "item '1' follows no item of user 'a'"),
    ],
)
def test_a_list_that_is_no_step_of_the_log_is_refused(step: Listed, message: str) -> None:
    raw = raw_log([("a", "1", 0, 0), ("a", "2", 1, 0), ("a", "3", 2, 0)], titles={"1": "", "2": "", "3": ""})
    with pytest.raises(DataError, match=message):
        filtered(dataclasses.replace(raw, listed=[step]), Filter())


class ServingZip(BaseHTTPRequestHandler):
    """Serves one archive and counts how often."""

    def __init__(self, content: bytes, asked: list[str], *arguments: object) -> None:
        self.content, self.asked = content, asked
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they come

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None: ...


def test_files_inside_an_archive_cost_one_download(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ml/ratings.dat", "1::2::3::4\n")
        archive.writestr("ml/movies.dat", "2::Two::Drama\n")
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(ServingZip, packed.getvalue(), asked)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{running.server_address[1]}/ml.zip"
        files = {
            name: RawFile(name=f"{name}.dat", url=url, member=f"ml/{name}.dat")
            for name in ("ratings", "movies")
        }
        card = card_of(
            dataclasses.replace(
                source("movielens", "ml"), interactions=files["ratings"], items=files["movies"]
            )
        )
        found = locate(card, data_dir=None, cache=tmp_path, offline=False, report=Silent())
        absent = RawFile(name="tags.dat", url=url, member="ml/tags.dat")
        with pytest.raises(DataError, match=r"ml/tags\.dat cannot be taken out of") as refused:
            download(absent, tmp_path / "raw" / "ml", report=Silent())
        running.shutdown()
        thread.join()
    assert asked == ["/ml.zip"]
    assert found.paths["interactions"].read_text() == "1::2::3::4\n"
    assert refused.value.mend.startswith("rm ")
    assert sorted(path.name for path in (tmp_path / "raw" / "ml").iterdir()) == [
        "ml.zip",
        "movies.dat",
        "ratings.dat",
    ]
