"""The raw log, and the readers of lines and tables that the raw formats share."""

from __future__ import annotations

import csv
import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, NoReturn, cast

import numpy as np

from recbench.base.progress import Reporter
from recbench.data import Ints
from recbench.errors import DataError
from recbench.protocol import Phase

if TYPE_CHECKING:
    from _csv import Reader

LINES_PER_REPORT = 50_000
MOST_DIGITS = 20
"""More have no place in 64 bits."""
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, the range of Python's calendar."""


class ItemText(NamedTuple):
    title: str
    categories: str


class Listed(NamedTuple):
    """An evaluation step that the source prescribes."""

    phase: Phase
    user: str
    target: str
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawLog:
    """N interactions of the source, not filtered, in no particular order."""

    user_ids: Sequence[str]  # [N]
    item_ids: Sequence[str]  # [N]
    timestamps: Ints | None  # [N] Unix time in units of 1 / ticks seconds; None where the source has none
    positions: Ints | None  # [N] position in the user's sequence; None where the source has none
    items: Mapping[str, ItemText]
    counts: Mapping[str, int]
    """Rows of the files that were left out, by the name of the rule."""
    listed: Sequence[Listed] = ()
    """Empty where the source prescribes no candidates. Users in these steps are not for training."""
    ticks: int = 1
    """Units of the timestamps a second."""


def lines(path: Path, *, report: Reporter, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a text file, decompressed where its name ends in `.gz`. DataError names the line."""
    number = 0
    try:
        size = path.stat().st_size
        with path.open("rb") as packed:
            # zlib errors occur while reading, so `number` is the last good line
            # BufferedReader accepts a GzipFile as raw stream, though typeshed does not say so
            plain = gzip.GzipFile(fileobj=packed) if path.suffix == ".gz" else packed
            stream = cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, plain)))
            for number, line in enumerate(stream, start=1):
                if number % LINES_PER_REPORT == 0:
                    report.progress(f"read {path.name}", packed.tell(), size)
                yield line.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}:{number + 1}: the gzip file is damaged or cut off", why=str(error), fix=f"rm {path}"
        ) from None
    except UnicodeDecodeError as error:
        fail(path, number, f"not {encoding.upper()}: {error.reason} at byte {error.start} of the line")


def table(
    path: Path, columns: Sequence[str], *, delimiter: str, quoted: bool, report: Reporter
) -> Iterator[tuple[int, list[str]]]:
    """Line number and the named columns of every row of a delimited file with a header.

    Names in the header may end in a type after a colon (`user_id:token`). Empty lines are skipped. DataError
    for a missing or repeated column, and for a row with another number of fields than the header.
    """
    reader = _reader(path, delimiter, quoted, report)
    try:
        header = _header(reader)
        for column in columns:
            if header.count(column) != 1:
                what = "two columns" if column in header else "no column"
                fail(path, 1, f"{what} '{column}'", why=f"columns: {', '.join(header) or 'none'}")
        indices = [header.index(column) for column in columns]
        for row in reader:
            if len(row) != len(header):
                if not row:
                    continue
                fail(path, reader.line_num, f"{len(row)} fields where the header has {len(header)}")
            yield reader.line_num, [row[index] for index in indices]
    except csv.Error as error:
        fail(path, reader.line_num, str(error))


def columns_of(path: Path, *, delimiter: str, report: Reporter, quoted: bool = True) -> list[str]:
    """The names in the header of a delimited file."""
    try:
        return _header(_reader(path, delimiter, quoted, report))
    except csv.Error as error:
        fail(path, 1, str(error))


def _reader(path: Path, delimiter: str, quoted: bool, report: Reporter) -> Reader:
    return csv.reader(
        lines(path, report=report),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )


def _header(reader: Iterator[list[str]]) -> list[str]:
    return [name.partition(":")[0].strip() for name in next(reader, [])]


def item_table(
    path: Path, *, title: str, categories: str, delimiter: str, quoted: bool, report: Reporter
) -> tuple[dict[str, ItemText], int]:
    """The items of a delimited file by id, and the number of rows that repeat an item.

    `title` and `categories` name columns; an empty name gives empty texts.
    """
    texts: dict[str, ItemText] = {}
    repeated = 0
    columns = ["item_id", *(column for column in (title, categories) if column)]
    item_of = Ids(path, "item_id")
    for line, fields in table(path, columns, delimiter=delimiter, quoted=quoted, report=report):
        by_column = dict(zip(columns, fields, strict=True)) | {"": ""}
        text = ItemText(collapsed(by_column[title]), collapsed(by_column[categories]))
        repeated += merged(texts, item_of(fields[0], line), text)
    return texts, repeated


def whole(text: str, path: Path, line: int, column: str, *, fix: str = "") -> int:
    """`text` as a whole number, such as `881250949` or `881250949.0`. DataError otherwise.

    Digits of other scripts, and `1_000`, which Python takes for numbers, are none; no digit is rounded.
    """
    if "_" in text or not text.isascii():
        fail(path, line, f"{column} = '{text}' is not a number", fix=fix)
    try:
        number = int(text)
    except ValueError:
        try:
            real = Decimal(text)
            number = int(real) if real.adjusted() < MOST_DIGITS else 2**63
        except (ArithmeticError, ValueError):
            fail(path, line, f"{column} = '{text}' is not a number", fix=fix)
        if number not in (real, 2**63):
            fail(path, line, f"{column} = '{text}' is not a whole number", fix=fix)
    if abs(number) >= 2**63:
        fail(path, line, f"{column} = '{text}' is out of range", fix=fix)
    return number


def moment(text: str, path: Path, line: int, column: str, *, ticks: int = 1, fix: str = "") -> int:
    """`text` as a Unix time in units of 1 / ticks seconds. DataError outside the years 1 to 9999."""
    number = whole(text, path, line, column, fix=fix)
    if not FIRST_SECOND <= number // ticks <= LAST_SECOND:
        fail(
            path,
            line,
            f"{column} = '{text}' is not a Unix time",
            why=f"at {ticks:,} a second it is outside the years 1 to 9999",
            fix=fix or "ticks = 1000 in the [[sources]] of the card, where the file counts milliseconds",
        )
    return number


class Ids:
    """Cleans the ids of a column: strips white space and composes Unicode letters (NFC).

    DataError for an empty id, and for two texts that give the same id.
    """

    def __init__(self, path: Path, column: str) -> None:
        self._path = path
        self._column = column
        self._ids: dict[str, str] = {}  # id by text of the file
        self._texts: dict[str, str] = {}  # text by id

    def __call__(self, text: str, line: int) -> str:
        known = self._ids.get(text)
        return self._new(text, line) if known is None else known

    def _new(self, text: str, line: int) -> str:
        name = unicodedata.normalize("NFC", text.strip())
        if not name:
            fail(self._path, line, f"{self._column} is empty")
        if any(unicodedata.category(letter) == "Cc" for letter in name):
            fail(self._path, line, f"{self._column} = {text!a} has a control character")
        first = self._texts.setdefault(name, text)
        if first != text:
            fail(
                self._path,
                line,
                f"{self._column} = {text!a} and {first!a} are the same id '{name}'",
                why="ids are compared without white space around them and with composed letters",
            )
        self._ids[text] = name
        return name


def timed(
    rows: Iterable[tuple[int, Sequence[str]]], path: Path, columns: tuple[str, str, str], *, ticks: int
) -> tuple[list[str], list[str], Ints]:
    """Users, items and timestamps of rows of these three fields, each with its line; `columns` names them
    in errors."""
    users: list[str] = []
    items: list[str] = []
    times: list[int] = []
    user_of, item_of = Ids(path, columns[0]), Ids(path, columns[1])
    for line, (user, item, time) in rows:
        users.append(user_of(user, line))
        items.append(item_of(item, line))
        times.append(moment(time, path, line, columns[2], ticks=ticks))
    return users, items, np.array(times, dtype=np.int64)


def collapsed(text: str) -> str:
    """`text` with each run of white space replaced by a blank, and none at the ends."""
    return " ".join(text.split())


def merged(items: dict[str, ItemText], item: str, text: ItemText) -> int:
    """Add an item to a table; return 1 if the table had it already, else 0.

    Of several texts the greatest by code point stays, so that the order of the rows does not matter
    and any title is preferred to none.
    """
    known = items.get(item)
    items[item] = text if known is None else max(known, text)
    return int(known is not None)


def fail(path: Path, line: int, what: str, *, why: str = "", fix: str = "") -> NoReturn:
    raise DataError(f"{path}:{line}: {what}", why=why, fix=fix)
