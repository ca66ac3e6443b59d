"""Rankings made elsewhere are read from one of three kinds of file: items by request, best first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from recbench.base.progress import Reporter
from recbench.dataset.sources.raw import Ids, columns_of, fail, lines, table, whole
from recbench.errors import DataError, UsageError
from recbench.results.request_features import request_names

EXAMPLE = '{"user": "7", "items": ["3", "12"]}'
USER, ITEM, ITEMS, RANK = ("user_id", "user"), ("item_id", "item"), ("items",), ("rank",)
REQUEST = "request"
"""The number of a user's request, from 1 on, in time; a file without it has one request a user."""


def read_ranking(path: Path, *, report: Reporter) -> dict[str, list[str]]:
    """Items by request, best first: JSON lines (`user`, `items`), or a CSV file with a header, either `user`,
    `item`, `rank` with one item a row, or `user`, `items` with blanks between the items. Each may have
    `request` too. A request bears its user's name, with `#2` behind it for the second.

    The suffix decides; `.gz` may follow. UsageError for another suffix, DataError for a malformed file.
    """
    kinds = [suffix.lower() for suffix in path.suffixes if suffix != ".gz"]
    if not kinds or kinds[-1] not in READERS:
        raise UsageError(
            f"{path} is no ranking by its name",
            why=f"known are JSON lines, {EXAMPLE}, as .jsonl or .json; user,item,rank or user,items as .csv",
            fix=f"mv {path.name} {path.name.partition('.')[0]}.jsonl, if it is JSON lines",
        )
    reader = READERS[kinds[-1]]
    ranked: dict[str, list[str]] = {}
    for line, user, items in reader(path, report):  # the user, or the name of a later request
        if user in ranked:
            fail(path, line, f"user '{user}' is ranked twice")
        if not items:
            fail(path, line, f"user '{user}' has no items")
        if len(set(items)) < len(items):
            repeated, _ = Counter(items).most_common(1)[0]
            fail(path, line, f"user '{user}': item '{repeated}' is ranked twice")
        ranked[user] = items
    if not ranked:
        raise DataError(f"{path}: there is no ranking in it")
    return ranked


def _json_rows(path: Path, report: Reporter) -> Iterator[tuple[int, str, list[str]]]:
    user_of, item_of = Ids(path, "user"), Ids(path, "items")
    for line, text in enumerate(lines(path, report=report), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
            user = next(record[key] for key in USER if key in record)
            items, number = record[ITEMS[0]], record.get(REQUEST, 1)
        except (ValueError, TypeError, KeyError, StopIteration, RecursionError):
            fail(path, line, f"not an object like {EXAMPLE}")
        if not isinstance(items, list):
            fail(path, line, f"items = {json.dumps(items)} is not a list", why=f"a line is like {EXAMPLE}")
        name = _request(user_of(_id(user, path, line), line), number, path, line)
        yield line, name, [item_of(_id(i, path, line), line) for i in items]


def _id(value: object, path: Path, line: int) -> str:
    """An id from a text or a whole number. 12.0 is neither, nor is true, which Python takes for 1."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        fail(path, line, f"{json.dumps(value)} is not an id", why="ids are texts or whole numbers")
    return str(value)


def _csv_rows(path: Path, report: Reporter) -> Iterator[tuple[int, str, list[str]]]:
    columns = columns_of(path, delimiter=",", report=report)
    user_of, item_of = Ids(path, "user"), Ids(path, "item")
    user = _column(USER, columns, path)
    numbered = (REQUEST,) if REQUEST in columns else ()
    if ITEMS[0] in columns:
        wanted: tuple[str, ...] = (user, ITEMS[0], *numbered)
        for line, (name, items, *number) in table(path, wanted, delimiter=",", quoted=True, report=report):
            asked = _request(user_of(name, line), number[0] if number else 1, path, line)
            yield line, asked, [item_of(item, line) for item in items.split()]
        return
    wanted = (user, _column(ITEM, columns, path), _column(RANK, columns, path), *numbered)
    ranked: dict[str, list[tuple[int, int, str]]] = {}
    for line, (name, item, rank, *number) in table(path, wanted, delimiter=",", quoted=True, report=report):
        row = (whole(rank, path, line, "rank"), line, item_of(item, line))
        asked = _request(user_of(name, line), number[0] if number else 1, path, line)
        ranked.setdefault(asked, []).append(row)
    for name, rows in ranked.items():
        rows.sort()
        _refuse_equal_ranks(path, name, rows)
        yield rows[0][1], name, [item for _, _, item in rows]


def _request(user: str, number: object, path: Path, line: int) -> str:
    """The name of a user's request by its number."""
    count = number if isinstance(number, int) else whole(str(number), path, line, REQUEST)
    if count < 1 or isinstance(number, bool):
        fail(path, line, f"{REQUEST} = {number} is no number of a user's request", why="the first is 1")
    [name] = request_names([user], [count])
    return name


def _refuse_equal_ranks(path: Path, user: str, rows: Sequence[tuple[int, int, str]]) -> None:
    for (rank, _, _), (next_rank, line, _) in pairwise(rows):
        if rank == next_rank:
            fail(path, line, f"user '{user}' has two items at rank {rank}")


def _column(names: Iterable[str], columns: Sequence[str], path: Path) -> str:
    column = next((name for name in names if name in columns), None)
    if column is None:
        fail(path, 1, f"no column {' or '.join(names)}", why=f"columns: {', '.join(columns)}")
    return column


READERS: Mapping[str, Callable[[Path, Reporter], Iterator[tuple[int, str, list[str]]]]] = {
    ".jsonl": _json_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
}
