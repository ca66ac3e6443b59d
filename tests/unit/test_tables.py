"""A user's own files become a data set, or an error that says which row, column or flag."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from recbench import card as cards
from recbench.errors import DataError, MissingError, RecbenchError, UsageError
from recbench.importing import warnings, write_set
from recbench.method import Silent
from recbench.prepare import prepare
from recbench.protocol import get_protocol
from recbench.sources import READERS
from recbench.sources.raw import ItemText, RawLog
from recbench.split import load_training
from recbench.tables import Columns, read

SONGS = "song,name,genres\ns1,One  song,Pop\ns2,,\ns1,Another,\n"
PLAYS = "who,song,at\nann,s2,20\nann,s1,10\nbob,s3,5\n"
NAMED = Columns(user="who", item="song", time="at", title="name", categories="genres")


def files(folder: Path, plays: str = PLAYS, songs: str = SONGS, form: str = "csv") -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    for name, text in (("plays", plays), ("songs", songs)):
        path = folder / f"{name}.{form}"
        text = text.replace(",", "\t") if form.startswith("tsv") else text
        path.write_bytes(gzip.compress(text.encode()) if form.endswith(".gz") else text.encode())
    return folder / f"plays.{form}", folder / f"songs.{form}"


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz"])
def test_named_columns_are_read_from_text_files(tmp_path: Path, form: str) -> None:
    raw = read(*files(tmp_path, form=form), NAMED, report=Silent())
    assert (list(raw.user_ids), list(raw.item_ids)) == (["ann", "ann", "bob"], ["s2", "s1", "s3"])
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [20, 10, 5]
    assert raw.items == {"s1": ItemText("One song", "Pop"), "s2": ItemText("", "")}
    assert raw.counts["repeated_items"] == 1


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    times = pa.array([20_000, 10_000, 5_000], pa.timestamp("ms", tz="UTC"))
    plays = {"who": ["ann", "ann", "bob"], "song": [2.0, 1.0, 3.0], "at": times}
    songs = {"song": [1, 2], "name": ["One  song", None], "genres": [["Pop", "Rock"], None]}
    for name, columns in (("plays", plays), ("songs", songs)):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    raw = read(tmp_path / "plays.parquet", tmp_path / "songs.parquet", NAMED, report=Silent())
    assert list(raw.item_ids) == ["2", "1", "3"]
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [20, 10, 5]
    assert raw.items == {"1": ItemText("One song", "Pop > Rock"), "2": ItemText("", "")}


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "plays.parquet").write_text("who,song\n")
    with pytest.raises(DataError, match=r"plays\.parquet is no Parquet file"):
        read(tmp_path / "plays.parquet", None, NAMED, report=Silent())


def test_usual_names_need_no_flags(tmp_path: Path) -> None:
    plays = PLAYS.replace("who,song,at", "userId,movieId,timestamp")
    raw = read(
        *files(tmp_path, plays, SONGS.replace("song,name", "movieId,title")), Columns(), report=Silent()
    )
    assert raw.items["s1"] == ItemText("One song", "Pop")
    assert list(raw.user_ids) == ["ann", "ann", "bob"]


def test_rows_in_order_need_no_times(tmp_path: Path) -> None:
    raw = read(*files(tmp_path), Columns(user="who", item="song", ordered=True), report=Silent())
    assert raw.timestamps is None
    assert raw.positions is not None
    assert raw.positions.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("columns", "plays", "error", "text"),
    [
        (Columns(user="whom"), PLAYS, UsageError, "plays.csv: no column 'whom'\ncolumns: who, song, at"),
        (Columns(item="song"), PLAYS, UsageError, "no column that looks like the user"),
        (Columns(user="who", item="song"), PLAYS, UsageError, "--time COLUMN; or --ordered"),
        (NAMED, PLAYS.replace("10", "May 4th"), DataError, "plays.csv:3: at = 'May 4th' is not a number"),
        (NAMED, PLAYS.replace("10", "1588687728923"), DataError, "is no time in s\nread so"),
        (NAMED, PLAYS.replace("bob", ""), DataError, "plays.csv:4: who is empty"),
        (NAMED, PLAYS.replace("\nann,s1", "\n ann,s1"), DataError, "are the same id 'ann'"),
        (NAMED, PLAYS + "ann\n", DataError, "plays.csv:5: 1 fields where the header has 3"),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(
    tmp_path: Path, columns: Columns, plays: str, error: type[RecbenchError], text: str
) -> None:
    with pytest.raises(error) as refused:
        read(*files(tmp_path, plays), columns, report=Silent())
    assert text in str(refused.value)


def test_milliseconds_are_read_when_they_are_named(tmp_path: Path) -> None:
    plays = PLAYS.replace("10", "1588687728923")
    columns = Columns(user="who", item="song", time="at", time_unit="ms")
    raw = read(*files(tmp_path, plays), columns, report=Silent())
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [0, 1_588_687_728, 0]


def test_unknown_and_absent_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"plays\.xlsx: unknown kind of file"):
        read(tmp_path / "plays.xlsx", None, NAMED, report=Silent())
    with pytest.raises(MissingError, match=r"plays\.csv is not there"):
        read(tmp_path / "plays.csv", None, NAMED, report=Silent())


def made_log(num_users: int = 25) -> RawLog:
    rng = np.random.default_rng(0)
    rows = [
        (f"u{u}", f"i{i}", 1000 * u + n)
        for u in range(num_users)
        for n, i in enumerate(rng.permutation(30)[:6])
    ]
    return RawLog(
        user_ids=[user for user, _, _ in rows],
        item_ids=[item for _, item, _ in rows],
        timestamps=np.array([at for _, _, at in rows]),
        positions=None,
        items={f"i{item}": ItemText(f'"Song" {item // 2}' if item else "", "") for item in range(30)},
        counts={"repeated_items": 0},
    )


def write(raw: RawLog, tmp_path: Path, name: str = "songs", core: int = 0) -> Path:
    return write_set(
        raw,
        name=name,
        title='My "songs"',
        noun="song",
        core=core,
        origin=[Path("plays.csv")],
        data=tmp_path / "data",
        root=tmp_path,
    )


def test_an_imported_set_is_the_log_it_was_made_of(tmp_path: Path) -> None:
    raw = made_log()
    assert write(raw, tmp_path) == tmp_path / "datasets" / "songs.toml"
    card = cards.find("songs", tmp_path)
    assert (card.title, card.noun) == ('My "songs"', "song")
    folder = tmp_path / "data" / "songs"
    paths = {part: folder / file.name for part, file in card.sources[0].files.items()}
    again = READERS["normalised"](card.sources[0], paths, report=Silent())
    assert (list(again.user_ids), list(again.item_ids)) == (raw.user_ids, raw.item_ids)
    assert again.timestamps is not None
    assert raw.timestamps is not None
    assert again.timestamps.tolist() == raw.timestamps.tolist()
    assert again.items == raw.items
    split = prepare(card, get_protocol("ilrec"), cache=tmp_path / "cache", data_dir=tmp_path / "data")
    assert load_training(split.folder).catalogue.titles[1] == '"Song" 0'
    found = warnings(split.statistics)
    assert "1 of 30 items have no title, which the title and hybrid paradigms need" in found
    assert "14 items share their title with another item" in found  # 0; 1 2: 14 pairs less the untitled one's


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    folders = []
    for name in ("one", "two"):
        write(made_log(), tmp_path, name)
        folders.append(tmp_path / "data" / name)
    for file in ("interactions.csv.gz", "items.csv.gz"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


@pytest.mark.parametrize(("core", "name"), [(99, "songs"), (0, "My Songs"), (0, "../songs")])
def test_a_refused_import_leaves_nothing(tmp_path: Path, core: int, name: str) -> None:
    with pytest.raises(RecbenchError):
        write(made_log(), tmp_path, name, core)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(MissingError, match="cannot be written to") as refused:
        write(made_log(), tmp_path)
    assert "RECBENCH_DATA" in refused.value.mend
    assert not (tmp_path / "datasets").exists()
