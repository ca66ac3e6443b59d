"""A user's own files become a data set: normalised files in the data folder, and a card under the root."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbench.card import Filter
from recbench.errors import DataError, MissingError, UsageError
from recbench.sources.log import filtered
from recbench.sources.raw import RawLog

TIED_SHARE = 0.1
"""From this share of targets on, ties of timestamps are worth a warning."""

CARD = """\
name = {name}
title = {title}
noun = {noun}
citation = ""
terms = "not stated: fill in before results are published"
used_by = []
notes = {notes}

[filter]
core = {core}

[expect]
users = {users}
items = {items}
interactions = {interactions}

[[sources]]
format = "normalised"
folder = {name}
mend = {mend}

[sources.interactions]
name = "interactions.csv.gz"

[sources.items]
name = "items.csv.gz"
"""


def write_set(
    raw: RawLog,
    *,
    name: str,
    title: str,
    noun: str,
    core: int,
    origin: Sequence[Path],
    data: Path,
    root: Path,
) -> Path:
    """Write `<data>/<name>/` and the card `<root>/datasets/<name>.toml`, which is returned; both or neither.

    What is there under that name is replaced. UsageError for a name that is none, DataError where nothing
    would be left after filtering, MissingError where the folders cannot be written.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise UsageError(
            f"'{name}' cannot name a data set", why="allowed: a-z, 0-9, and . _ - after the first"
        )
    try:
        log = filtered(raw, Filter(core=core))
    except DataError as error:
        raise DataError(f"{origin[0]}: {error.what}", why=error.why) from None
    files = " and ".join(path.name for path in origin)
    text = CARD.format(
        name=_toml(name),
        title=_toml(title),
        noun=_toml(noun),
        notes=_toml([f"Imported from {files}."]),
        core=core,
        users=len(log.user_ids),
        items=len(log.item_ids),
        interactions=log.num_interactions,
        mend=_toml(f"recbench data import ... --name {name}   (again, from {files})"),
    )
    card = root / "datasets" / f"{name}.toml"
    folder, partial = data / name, data / f".{name}-{os.getpid()}"
    try:
        partial.mkdir(parents=True)
        card.parent.mkdir(parents=True, exist_ok=True)
        _write_csv(partial / "interactions.csv.gz", *_interactions(raw))
        items = [(item, *text) for item, text in raw.items.items()]
        _write_csv(partial / "items.csv.gz", ("item_id", "title", "categories"), items)
        unfinished = partial / card.name
        unfinished.write_text(text, encoding="utf-8")
        shutil.move(unfinished, card.with_suffix(".partial"))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        card.with_suffix(".partial").replace(card)
    except OSError as error:
        raise MissingError(
            f"the data set cannot be written to {data}",
            why=str(error),
            mend="RECBENCH_DATA=FOLDER with a folder that can be written",
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        card.with_suffix(".partial").unlink(missing_ok=True)
    return card


def warnings(statistics: Mapping[str, Any]) -> list[str]:
    """What a user of an imported set should know, from the statistics of its split."""
    rules, items = statistics["rules"], statistics["items"]
    titled = statistics["items_with_title"]
    untitled, same = items - titled, titled - statistics["distinct_titles"]
    found = [
        (rules["rows_without_metadata"], "interactions were dropped: their item is not in the file of items"),
        (rules["repeated_pairs"], "interactions were dropped: the user had chosen the item before"),
        (rules["rows_below_core"], "interactions were dropped: they lie outside the k-core"),
        (rules["short_users"], "users were dropped: fewer than three interactions"),
        (rules["repeated_items"], "rows of the file of items name an item again"),
        (untitled, f"of {items:,} items have no title, which the title and hybrid paradigms need"),
        (same, "items share their title with another item"),
    ]
    lines = [f"{count:,} {what}" for count, what in found if count]
    if "time_range" not in statistics:
        lines.append("there are no timestamps: the protocols soft and temporal cannot be used")
    for phase, tied in statistics["tied_targets"].items():
        asked = statistics["requests"][phase]
        if tied > TIED_SHARE * asked:
            lines.append(f"{tied:,} of {asked:,} {phase} targets are decided by ties of timestamps")
    return lines


def _interactions(raw: RawLog) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
    columns: dict[str, Sequence[object]] = {"user_id": raw.user_ids, "item_id": raw.item_ids}
    if raw.timestamps is not None:
        columns["timestamp"] = raw.timestamps.tolist()
    if raw.positions is not None:
        columns["position"] = raw.positions.tolist()
    return list(columns), zip(*columns.values(), strict=True)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Compressed without the time of day, so that the same rows give the same bytes."""
    with path.open("wb") as out, gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=0) as packed:
        writer = csv.writer(io.TextIOWrapper(packed, encoding="utf-8", newline="", write_through=True))
        writer.writerow(header)
        writer.writerows(rows)


def _toml(value: Any) -> str:
    """Strings and lists of strings are written in TOML as in JSON."""
    return json.dumps(value, ensure_ascii=False)
