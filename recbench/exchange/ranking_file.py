"""A file with a ranking that was made elsewhere, in one of three forms: items by user, best first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from recbench.base.progress import Reporter
from recbench.dataset.sources.raw import Ids, columns_of, fail, lines, table, whole
from recbench.errors import DataError, UsageError

EXAMPLE = '{"user": "7", "items": ["3", "12"]}'
USER, ITEM, ITEMS, RANK = ("user_id", "user"), ("item_id", "item"), ("items",), ("rank",)


def read_ranking(path: Path, *, report: Reporter) -> dict[str, list[str]]:
    """Items by user, best first: JSON lines (`user`, `items`), or a CSV file with a header, either `user`,
    `item`, `rank` with one row a place, or `user`, `items` with blanks between the items.

    Its name says which; `.gz` may follow. UsageError for another kind of file, DataError for a malformed one.
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
    for line, user, items in reader(path, report):
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
            items = record[ITEMS[0]]
        except (ValueError, TypeError, KeyError, StopIteration, RecursionError):
            fail(path, line, f"not an object like {EXAMPLE}")
        if not isinstance(items, list):
            fail(path, line, f"items = {json.dumps(items)} is not a list", why=f"a line is like {EXAMPLE}")
        yield line, user_of(_id(user, path, line), line), [item_of(_id(i, path, line), line) for i in items]


def _id(value: object, path: Path, line: int) -> str:
    """A text or a whole number as an id. 12.0 is neither, nor is true, which Python takes for 1."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        fail(path, line, f"{json.dumps(value)} is not an id", why="ids are texts or whole numbers")
    return str(value)


def _csv_rows(path: Path, report: Reporter) -> Iterator[tuple[int, str, list[str]]]:
    there = columns_of(path, delimiter=",", report=report)
    user_of, item_of = Ids(path, "user"), Ids(path, "item")
    user = _column(USER, there, path)
    if ITEMS[0] in there:
        for line, (name, items) in table(path, (user, ITEMS[0]), delimiter=",", quoted=True, report=report):
            yield line, user_of(name, line), [item_of(item, line) for item in items.split()]
        return
    columns = (user, _column(ITEM, there, path), _column(RANK, there, path))
    places: dict[str, list[tuple[int, int, str]]] = {}
    for line, (name, item, rank) in table(path, columns, delimiter=",", quoted=True, report=report):
        place = (whole(rank, path, line, "rank"), line, item_of(item, line))
        places.setdefault(user_of(name, line), []).append(place)
    for name, found in places.items():
        found.sort()
        _refuse_equal_ranks(path, name, found)
        yield found[0][1], name, [item for _, _, item in found]


def _refuse_equal_ranks(path: Path, user: str, found: Sequence[tuple[int, int, str]]) -> None:
    for (one, _, _), (other, line, _) in pairwise(found):
        if one == other:
            fail(path, line, f"user '{user}' has two items at rank {one}")


def _column(names: Iterable[str], there: Sequence[str], path: Path) -> str:
    found = next((name for name in names if name in there), None)
    if found is None:
        fail(path, 1, f"no column {' or '.join(names)}", why=f"columns: {', '.join(there)}")
    return found


READERS: Mapping[str, Callable[[Path, Reporter], Iterator[tuple[int, str, list[str]]]]] = {
    ".jsonl": _json_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
}
