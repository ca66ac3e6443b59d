"""Read a user's own interactions and items, in CSV, TSV, Parquet or RecBole's atomic files, as a raw log."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbench.base.environment import install
from recbench.base.progress import Reporter
from recbench.data import Ints
from recbench.dataset import dates
from recbench.dataset.sources.raw import (
    Ids,
    ItemText,
    RawLog,
    collapsed,
    columns_of,
    fail,
    merged,
    moment,
    table,
)
from recbench.errors import DataError, MissingError, UsageError

FORMS: Mapping[str, tuple[str, bool]] = {
    ".csv": (",", True),
    ".tsv": ("\t", True),
    ".inter": ("\t", False),
    ".item": ("\t", False),
}
"""Delimiter, and whether fields may be quoted, by file name suffix; `.parquet` is read too."""

NAMES: Mapping[str, Sequence[str]] = {
    "user": ("user_id", "user", "userId", "uid", "reviewerID"),
    "item": ("item_id", "item", "itemId", "movieId", "parent_asin", "asin"),
    "time": ("timestamp", "time", "unixReviewTime"),
    "title": ("title", "name", "movie_title"),
    "categories": ("categories", "category", "genres", "class"),
}
"""Usual names of columns, in order of preference; tried where the user names no column."""

EXACT = 2**53
"""Above it a float does not tell neighbouring whole numbers apart."""
TICKS: Mapping[str, int] = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
MAX_LETTERS = 300
"""Longest list of columns in a message; a file that is no table may have its whole text as a column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a user's files, by content; the usual names are tried for None."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    title: str | None = None
    categories: str | None = None
    time_unit: str = "s"
    """The unit of a column of numbers; dates and timestamps define their own."""
    ordered: bool = False
    """Whether the order of the rows is chronological and replaces timestamps."""


def read(interactions: Path, items: Path | None, columns: Columns, *, report: Reporter) -> RawLog:
    """The log of two files. UsageError for a missing column, DataError for a faulty row."""
    users, chosen, times, ticks = _interactions(interactions, columns, report)
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
        ticks=ticks,
    )


def _interactions(
    path: Path, columns: Columns, report: Reporter
) -> tuple[list[str], list[str], Ints | None, int]:
    present = _columns_of(path, report)
    wanted = [_column("user", columns.user, present, path), _column("item", columns.item, present, path)]
    if not columns.ordered:
        wanted.append(_column("time", columns.time, present, path))
    users: list[str] = []
    chosen: list[str] = []
    times: list[int] = []
    rows = _rows(path, wanted, report)
    first = list(itertools.islice(rows, 1))
    unit = None if columns.ordered else _calendar_unit(path, wanted[2])
    dated = not columns.ordered and unit is None and any(dates.is_date(row[2]) for _, row in first)
    ticks = dates.TICKS if dated else TICKS[unit or columns.time_unit]
    user_of, item_of = Ids(path, wanted[0]), Ids(path, wanted[1])
    fix = "--time-unit s, ms, us or ns; or dates such as 2020-10-01 in all rows"
    for line, (user, item, *when) in itertools.chain(first, rows):
        users.append(user_of(user, line))
        chosen.append(item_of(item, line))
        if when and dated:
            times.append(dates.moment(when[0], path, line, wanted[2]))
        elif when:
            times.append(moment(when[0], path, line, wanted[2], ticks=ticks, fix=fix))
    if columns.ordered:
        return users, chosen, None, 1
    return users, chosen, np.array(times, dtype=np.int64), ticks


def _items(path: Path, columns: Columns, report: Reporter) -> tuple[dict[str, ItemText], int]:
    present = _columns_of(path, report)
    wanted = [_column("item", columns.item, present, path)]
    index = {}
    for part, named in (("title", columns.title), ("categories", columns.categories)):
        if named is not None or any(name in present for name in NAMES[part]):
            index[part] = len(wanted)
            wanted.append(_column(part, named, present, path))
    unread = [name for name in present if name not in wanted]
    if unread and len(index) < 2:
        flags = " or ".join(f"--{part} COLUMN" for part in ("title", "categories") if part not in index)
        report.log(message=f"{path.name}: not read: {', '.join(unread)[:MAX_LETTERS]}  ({flags})")
    texts: dict[str, ItemText] = {}
    repeated = 0
    item_of = Ids(path, wanted[0])
    for line, row in _rows(path, wanted, report):
        fields = {part: collapsed(row[column]) for part, column in index.items()}
        text = ItemText(fields.get("title", ""), fields.get("categories", ""))
        repeated += merged(texts, item_of(row[0], line), text)
    return texts, repeated


def _column(part: str, named: str | None, present: Sequence[str], path: Path) -> str:
    """The column `named`, or the first with a usual name of `part`. UsageError without one."""
    for name in NAMES[part] if named is None else (named,):
        if present.count(name) > 1:
            raise DataError(f"{path}:1: two columns '{name}'", why=f"columns: {', '.join(present)}")
        if name in present:
            return name
    missing = f"no column '{named}'" if named else f"no column that looks like the {part}"
    names = ", ".join(present)
    names = names if len(names) <= MAX_LETTERS else f"{names[:MAX_LETTERS]}..."
    fix = f"--{part} COLUMN"
    if part == "time":
        fix += "; or --ordered, if the rows are in chronological order"
    raise UsageError(f"{path}: {missing}", why=f"columns: {names or 'none'}", fix=fix)


def _form(path: Path) -> str:
    """The suffix of a file that can be read. UsageError for an unknown suffix, MissingError for no file."""
    form = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    form = form.lower()
    if form not in (*FORMS, ".parquet"):
        known = ", ".join([*FORMS, ".parquet"])
        raise UsageError(
            f"{path}: unknown kind of file", why=f"known: {known}; text files also with .gz at the end"
        )
    if not path.is_file():
        raise MissingError(f"{path} is {'a folder' if path.is_dir() else 'not there'}")
    return form


def _columns_of(path: Path, report: Reporter) -> list[str]:
    form = _form(path)
    if form == ".parquet":
        return list(_parquet(path).schema_arrow.names)
    delimiter, quoted = FORMS[form]
    return columns_of(path, delimiter=delimiter, quoted=quoted, report=report)


def _rows(path: Path, columns: Sequence[str], report: Reporter) -> Iterator[tuple[int, list[str]]]:
    """Number of the line (in Parquet, of the row) and the named columns as text."""
    form = _form(path)
    if form != ".parquet":
        delimiter, quoted = FORMS[form]
        yield from table(path, columns, delimiter=delimiter, quoted=quoted, report=report)
        return
    for number, row in enumerate(_records(path, columns), start=1):
        yield number, [_text(cell, path, number, column) for cell, column in zip(row, columns, strict=True)]


def _records(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The cells of the named columns, row by row; dates and timestamps as whole numbers of their unit."""
    whole = _parquet(path)
    from pyarrow import ArrowException, int64, timestamp

    units = {column: _calendar_unit(path, column) for column in columns}
    try:
        for batch in whole.iter_batches(columns=list(dict.fromkeys(columns))):
            cells = [
                batch.column(column).cast(timestamp(unit)).cast(int64()) if unit else batch.column(column)
                for column, unit in units.items()
            ]
            by_column = dict(zip(units, (cell.to_pylist() for cell in cells), strict=True))
            yield from zip(*(by_column[column] for column in columns), strict=True)
    except (ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged", why=str(error)) from None


def _calendar_unit(path: Path, column: str) -> str | None:
    """The unit of a Parquet column of dates or timestamps; None for numbers or text.

    A timestamp without a zone is read as UTC, whatever the zone of the machine.
    """
    if _form(path) != ".parquet":
        return None
    kind = _parquet(path).schema_arrow.field(column).type
    from pyarrow import types

    if types.is_timestamp(kind):
        return str(kind.unit)
    return "ms" if types.is_date64(kind) else "s" if types.is_date(kind) else None


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingError(
            f"{path} needs pyarrow to be read",
            why="it is not installed; it comes with mlflow and datasets",
            fix=f"{install('train')}, or pip install pyarrow; or write the table as CSV",
        ) from None
    try:
        return ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} is not a Parquet file", why=str(error)) from None


def _text(value: Any, path: Path, row: int, column: str) -> str:
    """A cell as a CSV file would have it: whole numbers without a point, an empty text for not-a-number."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        if abs(value) > EXACT:
            why = "a float holds whole numbers up to 2^53 exactly, and this one may have been another"
            return fail(
                path, row, f"{column} = {int(value)} was rounded", why=why, fix="store it as an integer"
            )
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list):
        return " > ".join(str(part) for part in value)
    return fail(path, row, f"{column} = {value!r} is neither text nor a number")
