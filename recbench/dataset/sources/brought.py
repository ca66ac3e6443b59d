"""Raw formats of other packages: a guarded child reads the files and leaves the filtered log, nothing else.

`running/guard/reading.py` is that child. What it leaves is read as plain arrays and checked; the digest of
the log decides the identity of all that is made from it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from recbench.base.extensions import failures, points
from recbench.base.extensions.extension import head
from recbench.base.extensions.points import UnusablePluginError
from recbench.base.files import parse_json, read_plain, scratch
from recbench.base.lifetime import as_parent
from recbench.base.root import for_methods
from recbench.data import Ragged
from recbench.dataset.card import Filter, Source
from recbench.dataset.sources.log import MIN_SEQUENCE, Log, ordered_ids
from recbench.dataset.sources.raw import Ids, ItemText, RawLog, collapsed, fail, merged, moment
from recbench.errors import DataError, RecbenchError
from recbench.extend import DescribedItem, Interaction, RawFormat

CHILD = "recbench.running.guard.reading"
"""The module of the child; it is on a floor above."""
ARRAYS, TEXTS, ERROR, TASK = "log.npz", "log.json", "error.json", "task.json"
NO_RECORD = (OSError, ValueError, KeyError, TypeError, AttributeError)


def read(source: Source, files: Mapping[str, Path], rules: Filter, *, root: Path) -> Log:
    """The filtered log of `files`, by the format that the source names.

    Raises what the format's class raises of recbench's errors; UnusablePluginError for its other faults, and
    where what it leaves is no log.
    """
    name = head(source.format)
    point = points.point_of("format", name)
    with scratch() as folder:
        task = {
            "path": sys.path,
            "root": str(root),
            "format": source.format,
            "files": {part: str(path) for part, path in files.items()},
            "ticks": source.ticks,
            "filter": asdict(rules),
        }
        (Path(folder) / TASK).write_text(json.dumps(task))
        words = [sys.executable, "-P", "-m", CHILD, folder]
        silent, environ = subprocess.DEVNULL, as_parent(for_methods(os.environ))
        code = subprocess.run(words, stdin=silent, stdout=silent, env=environ, check=False).returncode
        out = Path(folder) / "out"
        if (out / ERROR).exists():
            raise _told(out / ERROR, name, point)
        if code:
            raise _unusable(name, point, f"its code ended the process that reads (exit code {code})")
        try:
            log = _loaded(out)
            _check(log, rules)
        except (*NO_RECORD, EOFError, zipfile.BadZipFile) as error:
            raise _unusable(name, point, f"what it leaves is no log: {error}") from error
    return log


def _told(file: Path, name: str, point: Any) -> RecbenchError:
    """The error that the child left."""
    try:
        return failures.error_of(parse_json(read_plain(file)))
    except NO_RECORD as error:
        return _unusable(name, point, f"what it leaves is no error: {error}")


def _unusable(name: str, point: Any, why: str) -> UnusablePluginError:
    return UnusablePluginError(
        f"raw format '{name}' of {points.owner(point)} reads no log", why=why, fix=f"fix {point.value}"
    )


def raw_log(reader: RawFormat, files: Mapping[str, Path], *, ticks: int) -> RawLog:
    """What the class gives, with cleaned ids and texts. DataError names the number of the row."""
    interactions = files["interactions"]
    user_of, item_of = Ids(interactions, "user"), Ids(interactions, "item")
    users, items, times, positions = [], [], [], []
    count: dict[str, int] = {}
    for row, one in enumerate(_rows(reader.interactions(files), Interaction, interactions), start=1):
        user, item = user_of(one.user, row), item_of(one.item, row)
        users.append(user)
        items.append(item)
        positions.append(count.get(user, 0))
        count[user] = positions[-1] + 1
        if one.time is not None:
            times.append(moment(str(one.time), interactions, row, "time", ticks=ticks))
    if times and len(times) < len(users):
        fail(interactions, len(users), f"{len(users) - len(times)} of {len(users)} interactions have no time")
    texts: dict[str, ItemText] = {}
    repeated = 0
    id_of = Ids(files["items"], "item")
    for row, described in enumerate(_rows(reader.items(files), DescribedItem, files["items"]), start=1):
        text = ItemText(collapsed(described.title), collapsed(described.categories))
        repeated += merged(texts, id_of(described.item, row), text)
    return RawLog(
        user_ids=users,
        item_ids=items,
        timestamps=np.array(times, dtype=np.int64) if times else None,
        positions=None if times else np.array(positions, dtype=np.int64),
        items=texts,
        counts={"repeated_items": repeated},
        ticks=ticks,
    )


def _rows(rows: Iterable[Any], kind: type[Any], path: Path) -> Iterable[Any]:
    """Each as the named tuple that it has to be. DataError for one whose texts are none."""
    number = 0
    for number, row in enumerate(rows, start=1):
        try:
            found = kind(*row)
        except TypeError as error:
            raise DataError(f"{path}:{number}: {row!r} is no {kind.__name__}", why=str(error)) from None
        texts = [value for name, value in found._asdict().items() if name != "time"]
        if not all(isinstance(text, str) for text in texts):
            fail(path, number, f"{row!r} has something else than texts")
        yield found


def leave(folder: Path, log: Log) -> None:
    """For the child."""
    np.savez(folder / ARRAYS, offsets=log.sequences.offsets, values=log.sequences.values, moments=log.moments)
    record = {
        "user_ids": log.user_ids,
        "item_ids": log.item_ids,
        "texts": log.texts,
        "timestamped": log.timestamped,
        "counts": log.counts,
        "ticks": log.ticks,
    }
    (folder / TEXTS).write_text(json.dumps(record), encoding="utf-8")


def _loaded(folder: Path) -> Log:
    record = parse_json(read_plain(folder / TEXTS))
    with np.load(io.BytesIO(read_plain(folder / ARRAYS)), allow_pickle=False) as arrays:
        offsets, values, moments = (arrays[name] for name in ("offsets", "values", "moments"))
    return Log(
        user_ids=tuple(map(str, record["user_ids"])),
        item_ids=tuple(map(str, record["item_ids"])),
        texts=tuple(ItemText(str(title), str(categories)) for title, categories in record["texts"]),
        sequences=Ragged(offsets, values),
        moments=moments,
        timestamped=bool(record["timestamped"]),
        counts={str(rule): int(count) for rule, count in record["counts"].items()},
        ticks=int(record["ticks"]),
    )


def _check(log: Log, rules: Filter) -> None:
    """ValueError for what no filtered log can be."""
    offsets, values, moments = log.sequences.offsets, log.sequences.values, log.moments
    whole = all(array.ndim == 1 and array.dtype == np.int64 for array in (offsets, values, moments))
    if not whole or len(offsets) != len(log.user_ids) + 1 or offsets[0] != 0 or offsets[-1] != len(values):
        raise ValueError("its sequences do not fit its users")
    if len(moments) != len(values) or len(log.texts) != len(log.item_ids):
        raise ValueError("its times or texts do not fit its interactions and items")
    for ids in (log.user_ids, log.item_ids):
        if len(set(ids)) != len(ids) or list(ids) != ordered_ids(ids):
            raise ValueError("its ids are not distinct and in order")
    if log.ticks not in (1, 1000, 1_000_000, 1_000_000_000):
        raise ValueError(f"it has {log.ticks} units of time a second")
    lengths = np.diff(offsets)
    least = max(rules.core, MIN_SEQUENCE)
    if not len(lengths) or lengths.min() < least or values.min() < 0 or values.max() >= len(log.item_ids):
        raise ValueError(f"a user has fewer than {least} interactions, or one with no item")
    if np.bincount(values, minlength=len(log.item_ids)).min() < max(rules.core, 1):
        raise ValueError(f"an item has fewer than {max(rules.core, 1)} interactions")
    for start, end in pairwise(offsets.tolist()):
        _check_sequence(values[start:end].tolist(), moments[start:end].tolist())


def _check_sequence(items: Sequence[int], moments: Sequence[int]) -> None:
    if len(set(items)) != len(items):
        raise ValueError("a user has an item twice")
    if any(later < earlier for earlier, later in pairwise(moments)):
        raise ValueError("a sequence is not in the order of its times")
