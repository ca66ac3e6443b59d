"""A user's own files are read, or an error says which row, column or flag."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from recbench.base.progress import Silent
from recbench.dataset.sources.raw import ItemText
from recbench.dataset.user_tables import Columns, read
from recbench.errors import DataError, MissingError, RecbenchError, UsageError

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
    assert raw.timestamps.tolist() == [20_000, 10_000, 5_000]
    assert raw.ticks == 1000
    assert raw.items == {"1": ItemText("One song", "Pop > Rock"), "2": ItemText("", "")}


def parquet(folder: Path, **columns: Any) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), folder / "plays.parquet")
    return folder / "plays.parquet"


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be changed here")
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_moments_without_a_zone_are_those_of_utc_on_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    moments = [datetime(2020, 3, 8, 2, 30, 0, 250_000), datetime(1969, 12, 31, 23, 59, 59)]
    path = parquet(tmp_path, who=["ann", "ann"], song=["a", "b"], at=moments)
    raw = read(path, None, replace(NAMED, time_unit="ms"), report=Silent())
    monkeypatch.undo()
    time.tzset()
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [1_583_634_600_250_000, -1_000_000]
    assert raw.ticks == 1_000_000


def test_dates_are_midnights(tmp_path: Path) -> None:
    path = parquet(tmp_path, who=["ann"], song=["a"], at=[date(1970, 1, 3)])
    raw = read(path, None, NAMED, report=Silent())
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [2 * 86_400]


def test_nanoseconds_keep_their_order(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    times = pa.array([1_600_000_000_000_000_900, 1_600_000_000_000_000_100], pa.timestamp("ns"))
    raw = read(parquet(tmp_path, who=["ann"] * 2, song=["a", "b"], at=times), None, NAMED, report=Silent())
    assert raw.timestamps is not None
    assert (raw.timestamps % 1000).tolist() == [900, 100]
    assert raw.ticks == 1_000_000_000


def test_nanoseconds_in_words_are_not_rounded(tmp_path: Path) -> None:
    moments = ("1600000000000000101.0", "1600000000000000900", "1.600000000000000903e18")
    plays = "who,song,at\n" + "".join(f"ann,s{n},{at}\n" for n, at in enumerate(moments))
    columns = Columns(user="who", item="song", time="at", time_unit="ns")
    raw = read(*files(tmp_path, plays), columns, report=Silent())
    assert raw.timestamps is not None
    assert (raw.timestamps % 1000).tolist() == [101, 900, 903]


def test_nanoseconds_in_a_column_of_floats_are_refused_because_they_were_rounded(tmp_path: Path) -> None:
    path = parquet(tmp_path, who=["ann"], song=["a"], at=[1_600_000_000_000_000_101.0])
    columns = Columns(user="who", item="song", time="at", time_unit="ns")
    with pytest.raises(DataError, match=r"plays\.parquet:1: at = 1600000000000000000 was rounded") as caught:
        read(path, None, columns, report=Silent())
    assert caught.value.fix == "store it as an integer"


def test_milliseconds_in_a_column_of_seconds_are_no_times(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    path = parquet(tmp_path, who=["ann"], song=["a"], at=pa.array([1_588_687_728_923], pa.timestamp("s")))
    with pytest.raises(DataError, match=r"plays\.parquet:1: at = '1588687728923000' is not a Unix time"):
        read(path, None, NAMED, report=Silent())


def test_a_parquet_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.Table.from_arrays([pa.array([1])] * 4, names=["who", "song", "at", "at"])
    pq.write_table(table, tmp_path / "plays.parquet")
    with pytest.raises(DataError, match="two columns 'at'"):
        read(tmp_path / "plays.parquet", None, NAMED, report=Silent())


def test_a_cell_that_is_not_a_number_is_an_empty_one(tmp_path: Path) -> None:
    path = parquet(tmp_path, who=[1.0, float("nan")], song=["a", "b"], at=[1, 2])
    with pytest.raises(DataError, match=r"plays\.parquet:2: who is empty"):
        read(path, None, NAMED, report=Silent())


def test_a_parquet_file_with_damaged_pages_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, who=["ann"] * 500, song=["a"] * 500, at=list(range(500)))
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"plays\.parquet is damaged"):
        read(path, None, NAMED, report=Silent())


def test_quotes_and_blanks_in_a_header_are_not_part_of_the_names(tmp_path: Path) -> None:
    raw = read(*files(tmp_path, PLAYS.replace("who,song,at", '"who", song ,at')), NAMED, report=Silent())
    assert list(raw.user_ids) == ["ann", "ann", "bob"]


def test_a_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"plays\.csv:1: two columns 'who'"):
        read(*files(tmp_path, "who,who,song,at\nann,bob,s1,3\n"), NAMED, report=Silent())


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "plays.parquet").write_text("who,song\n")
    with pytest.raises(DataError, match=r"plays\.parquet is not a Parquet file"):
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
        (NAMED, PLAYS.replace("10", "2020-10-01"), DataError, "or dates such as 2020-10-01 in all rows"),
        (NAMED, PLAYS.replace("20", "2020-10-01"), DataError, "plays.csv:3: at = '10' is not a date"),
        (NAMED, PLAYS.replace("10", "1588687728923"), DataError, "at = '1588687728923' is not a Unix time"),
        (NAMED, PLAYS.replace("10", "1588687728923"), DataError, "try: --time-unit s, ms, us or ns"),
        (NAMED, PLAYS.replace("10", "-99999999999"), DataError, "outside the years 1 to 9999"),
        (NAMED, PLAYS.replace("bob", ""), DataError, "plays.csv:4: who is empty"),
        (NAMED, PLAYS.replace("\nann,s1", "\n ann,s1"), DataError, "are the same id 'ann'"),
        (NAMED, PLAYS + "ann\n", DataError, "plays.csv:5: 1 fields where the header has 3"),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(
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
    assert raw.timestamps.tolist() == [20, 1_588_687_728_923, 5]
    assert raw.ticks == 1000


def test_dates_are_read_as_utc_where_they_have_no_zone(tmp_path: Path) -> None:
    plays = (
        PLAYS.replace("20", "1970-01-02")
        .replace("10", "1970-01-01 01:00:00.5+01:00")
        .replace(",5", ",1970-01-01T00:00:05Z")
    )
    raw = read(*files(tmp_path, plays), NAMED, report=Silent())
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [86_400_000_000, 500_000, 5_000_000]
    assert raw.ticks == 1_000_000


def test_columns_of_items_that_are_not_read_are_named(tmp_path: Path) -> None:
    class Told(Silent):
        said: ClassVar[list[str]] = []

        def log(self, **values: float | int | str) -> None:
            self.said.append(str(values["message"]))

    columns = Columns(user="who", item="song", time="at")
    read(*files(tmp_path, songs=SONGS.replace("genres", "genre")), columns, report=Told())
    assert Told.said == ["songs.csv: not read: genre  (--categories COLUMN)"]


def test_unknown_and_absent_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"plays\.xlsx: unknown kind of file"):
        read(tmp_path / "plays.xlsx", None, NAMED, report=Silent())
    with pytest.raises(MissingError, match=r"plays\.csv is not there"):
        read(tmp_path / "plays.csv", None, NAMED, report=Silent())
    (tmp_path / "PLAYS.CSV").mkdir()
    with pytest.raises(MissingError, match=r"PLAYS\.CSV is a folder"):
        read(tmp_path / "PLAYS.CSV", None, NAMED, report=Silent())
