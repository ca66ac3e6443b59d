"""Interactions and items of a user's own, in CSV, TSV, Parquet or RecBole's atomic files, as a raw log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from recbench.data import Ints
from recbench.errors import DataError, MissingError, UsageError
from recbench.method import Reporter
from recbench.sources.raw import Ids, ItemText, RawLog, collapsed, columns_of, fail, merged, table, whole

FORMS: Mapping[str, tuple[str, bool]] = {
    ".csv": (",", True),
    ".tsv": ("\t", True),
    ".inter": ("\t", False),
    ".item": ("\t", False),
}
"""Delimiter and whether fields may be quoted, by the end of the file's name; Parquet beside them."""

NAMES: Mapping[str, Sequence[str]] = {
    "user": ("user_id", "user", "userId", "uid", "reviewerID"),
    "item": ("item_id", "item", "itemId", "movieId", "parent_asin", "asin"),
    "time": ("timestamp", "time", "unixReviewTime"),
    "title": ("title", "name", "movie_title"),
    "categories": ("categories", "category", "genres", "class"),
}
"""What columns are called that nobody names: the first that is there is taken."""

TICKS: Mapping[str, int] = {"s": 1, "ms": 1000, "us": 1_000_000}
LATEST_SECONDS = 100_000_000_000
"""The year 5138: a timestamp beyond is none in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a user's files by what they hold; None is looked for under the usual names."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    title: str | None = None
    categories: str | None = None
    time_unit: str = "s"
    ordered: bool = False
    """Rows stand in chronological order, and that is all that is known of time."""


def read(interactions: Path, items: Path | None, columns: Columns, *, report: Reporter) -> RawLog:
    """The log of two files. UsageError for a column that cannot be found, DataError for a row at fault."""
    users, chosen, times = _interactions(interactions, columns, report)
    if items is None:
        texts, repeated = {item: ItemText("", "") for item in chosen}, 0
    else:
        texts, repeated = _items(items, columns, report)
    return RawLog(
        user_ids=users,
        item_ids=chosen,
        timestamps=times,
        positions=np.arange(len(users)) if columns.ordered else None,
        items=texts,
        counts={"repeated_items": repeated},
    )


def _interactions(path: Path, columns: Columns, report: Reporter) -> tuple[list[str], list[str], Ints | None]:
    there = _columns_of(path, report)
    wanted = [_column("user", columns.user, there, path), _column("item", columns.item, there, path)]
    if not columns.ordered:
        wanted.append(_column("time", columns.time, there, path))
    users: list[str] = []
    chosen: list[str] = []
    times: list[int] = []
    user_of, item_of = Ids(path, wanted[0]), Ids(path, wanted[1])
    for line, (user, item, *moment) in _rows(path, wanted, report):
        users.append(user_of(user, line))
        chosen.append(item_of(item, line))
        if moment:
            times.append(_seconds(moment[0], columns.time_unit, path, line, wanted[2]))
    return users, chosen, None if columns.ordered else np.array(times, dtype=np.int64)


def _seconds(text: str, unit: str, path: Path, line: int, column: str) -> int:
    seconds = whole(text, path, line, column) // TICKS[unit]
    if abs(seconds) > LATEST_SECONDS:
        raise DataError(
            f"{path}:{line}: {column} = '{text}' is no time in {unit}",
            why="read so, it lies beyond the year 5000",
            mend="--time-unit ms, or --time-unit us",
        )
    return seconds


def _items(path: Path, columns: Columns, report: Reporter) -> tuple[dict[str, ItemText], int]:
    there = _columns_of(path, report)
    wanted = [_column("item", columns.item, there, path)]
    places = {}
    for part, named in (("title", columns.title), ("categories", columns.categories)):
        if named is not None or any(name in there for name in NAMES[part]):
            places[part] = len(wanted)
            wanted.append(_column(part, named, there, path))
    texts: dict[str, ItemText] = {}
    repeated = 0
    item_of = Ids(path, wanted[0])
    for line, row in _rows(path, wanted, report):
        found = {part: collapsed(row[place]) for part, place in places.items()}
        text = ItemText(found.get("title", ""), found.get("categories", ""))
        repeated += merged(texts, item_of(row[0], line), text)
    return texts, repeated


def _column(part: str, named: str | None, there: Sequence[str], path: Path) -> str:
    for name in NAMES[part] if named is None else (named,):
        if name in there:
            return name
    missing = f"no column '{named}'" if named else f"no column that looks like the {part}"
    mend = f"--{part} COLUMN"
    if part == "time":
        mend += "; or --ordered, if the rows stand in chronological order"
    raise UsageError(f"{path}: {missing}", why=f"columns: {', '.join(there) or 'none'}", mend=mend)


def _form(path: Path) -> str:
    form = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    if form not in (*FORMS, ".parquet"):
        known = ", ".join([*FORMS, ".parquet"])
        raise UsageError(
            f"{path}: unknown kind of file", why=f"known: {known}; text files also with .gz behind"
        )
    if not path.is_file():
        raise MissingError(f"{path} is not there")
    return form


def _columns_of(path: Path, report: Reporter) -> list[str]:
    form = _form(path)
    if form == ".parquet":
        return list(_parquet(path).schema_arrow.names)
    return columns_of(path, delimiter=FORMS[form][0], report=report)


def _rows(path: Path, columns: Sequence[str], report: Reporter) -> Iterator[tuple[int, list[str]]]:
    """Line (or row, in Parquet) number and the named columns as text."""
    form = _form(path)
    if form != ".parquet":
        delimiter, quoted = FORMS[form]
        yield from table(path, columns, delimiter=delimiter, quoted=quoted, report=report)
        return
    number = 0
    for batch in _parquet(path).iter_batches(columns=list(columns)):
        for row in batch.to_pylist():
            number += 1
            yield number, [_text(row[column], path, number, column) for column in columns]


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingError(
            f"{path} needs pyarrow to be read",
            why="it is not installed; it comes with mlflow and datasets",
            mend='pip install "recbench[train]", or pip install pyarrow; or write the table as CSV',
        ) from None
    try:
        return ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file", why=str(error)) from None


def _text(value: Any, path: Path, row: int, column: str) -> str:
    """A cell as it would stand in a CSV file: whole numbers without a point, moments in Unix seconds."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return str(int(value.timestamp()))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list):
        return " > ".join(str(part) for part in value)
    return fail(path, row, f"{column} = {value!r} is neither text nor a number")
