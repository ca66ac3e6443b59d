"""Import a user's own files as a dataset: normalised files in the data folder, and a card under the root."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from recbench.base import digest
from recbench.base.files import write_text
from recbench.base.words import plural
from recbench.dataset.card import DatasetCard, Filter, parse
from recbench.dataset.sources.log import coarsest, filtered
from recbench.dataset.sources.raw import RawLog
from recbench.dataset.split import Statistics
from recbench.errors import DataError, MissingError, UsageError

TIED_SHARE = 0.1
"""Warn about ties of timestamps that decide more than this share of targets."""

CARD = """\
name = {name}
title = {title}
noun = {noun}
citation = {citation}
terms = {terms}
used_by = {used_by}
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
ticks = {ticks}
fix = {fix}

[sources.interactions]
name = "interactions.csv.gz"
sha256 = {interactions_sha256}

[sources.items]
name = "items.csv.gz"
sha256 = {items_sha256}
"""
TERMS = "not stated: fill in before results are published"
FILES = ("interactions.csv.gz", "items.csv.gz")
IMPORTED = "recbench data import"
"""The beginning of `fix` in the card of every imported dataset."""


@contextmanager
def published(
    raw: RawLog,
    *,
    name: str,
    title: str,
    noun: str,
    core: int,
    origin: Sequence[Path],
    data: Path,
    root: Path,
    force: bool = False,
) -> Iterator[Path]:
    """Write `<data>/<name>/` and the card `<root>/datasets/<name>.toml`; yield the path of the card.

    Both are undone if the block raises. With `force`, an imported dataset of that name is replaced.
    UsageError for a name that is invalid or taken, DataError where filtering would leave nothing,
    MissingError where the folders cannot be written.
    """
    card, folder = root / "datasets" / f"{name}.toml", data / name
    earlier = replaced(name, card, folder, force=force)
    try:
        log = filtered(raw, Filter(core=core))
    except DataError as error:
        raise DataError(f"{origin[0]}: {error.what}", why=error.why) from None
    staging = data / f".{name}-{os.getpid()}"
    new, old = staging / "new", staging / "old"
    before = card.read_bytes() if card.is_file() else None
    existed = folder.exists()
    try:
        try:
            new.mkdir(parents=True)
            card.parent.mkdir(parents=True, exist_ok=True)
            ticks = _write_files(new, raw)
            facts = {"core": core, "ticks": ticks, "users": len(log.user_ids), "items": len(log.item_ids)}
            facts["interactions"] = log.num_interactions
            text = _card(new, facts, earlier, name=name, title=title, noun=noun, origin=origin)
            if existed:
                folder.rename(old)
            new.rename(folder)
            write_text(card, text)
        except OSError as error:
            raise MissingError(
                f"the dataset cannot be written to {data}",
                why=str(error),
                fix="RECBENCH_DATA=FOLDER with a folder that can be written",
            ) from None
        yield card
    except BaseException:
        if old.exists() or not existed:
            shutil.rmtree(folder, ignore_errors=True)
        if old.exists():
            old.rename(folder)
        if before is not None:
            card.write_bytes(before)
        elif card.is_file():
            card.unlink()
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def replaced(name: str, card: Path, folder: Path, *, force: bool) -> DatasetCard | None:
    """The card of the dataset to replace, or None. UsageError for an invalid name, for a name that is taken
    without `force`, and for a dataset that was not imported."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", name):
        raise UsageError(
            f"'{name}' cannot name a dataset",
            why="allowed: a-z, 0-9, and . _ - after the first, 100 letters at most",
        )
    inside = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    if not card.exists() and not inside and not folder.is_file():
        return None
    if not force:
        taken = card if card.exists() else folder
        raise UsageError(
            f"there is a dataset '{name}' already",
            why=f"{taken} is there",
            fix="another --name, or --force to replace an imported dataset",
        )
    foreign = inside - set(FILES)
    earlier = parse(card.read_bytes(), path=str(card)) if card.is_file() else None
    source = earlier.sources[0] if earlier else None
    if foreign or source is None or source.folder != name or not source.fix.startswith(IMPORTED):
        raise UsageError(
            f"'{name}' was not imported, so it is not replaced",
            why=f"{folder} holds {min(foreign)}" if foreign else f"{card} is not an imported dataset's card",
            fix="another --name",
        )
    return earlier


def _card(
    folder: Path,
    facts: Mapping[str, int],
    earlier: DatasetCard | None,
    *,
    name: str,
    title: str,
    noun: str,
    origin: Sequence[Path],
) -> str:
    """The text of the card for the files in `folder`. Texts that a user filled in on `earlier` stay."""
    files = " and ".join(path.name for path in origin)
    interactions, items = (digest.of_file(folder / file) for file in FILES)
    texts = {
        "name": name,
        "title": title,
        "noun": noun,
        "citation": earlier.citation if earlier else "",
        "terms": earlier.terms if earlier else TERMS,
        "used_by": list(earlier.used_by) if earlier else [],
        "notes": [f"Imported from {files}."],
        "fix": f"{IMPORTED} ... --name {name} --force   (again, from {files})",
        "interactions_sha256": interactions,
        "items_sha256": items,
    }
    return CARD.format(**facts, **{key: _toml(value) for key, value in texts.items()})


def _write_files(folder: Path, raw: RawLog) -> int:
    """Write the two normalised files; return the units a second of their timestamps."""
    interactions, items = FILES
    columns: dict[str, Sequence[object]] = {"user_id": raw.user_ids, "item_id": raw.item_ids}
    ticks = 1
    if raw.timestamps is not None:
        moments, ticks = coarsest(raw.timestamps, raw.ticks)
        columns["timestamp"] = moments.tolist()
    if raw.positions is not None:
        columns["position"] = raw.positions.tolist()
    _write_csv(folder / interactions, list(columns), zip(*columns.values(), strict=True))
    texts = [(item, *text) for item, text in raw.items.items()]
    _write_csv(folder / items, ("item_id", "title", "categories"), texts)
    return ticks


def warnings(statistics: Statistics, *, repeated_items: int = 0) -> list[str]:
    """What a user of an imported dataset should know, from the statistics of its split and of the files."""
    rules, items = statistics.rules, statistics.items
    titled = statistics.items_with_title
    untitled, same = items - titled, titled - statistics.distinct_titles
    counts = [
        (rules["rows_without_metadata"], "interaction", "dropped: not in the file of items"),
        (rules["repeated_pairs"], "interaction", "dropped: the user had chosen the item before"),
        (rules["rows_below_core"], "interaction", "dropped: outside the k-core"),
        (rules["short_users"], "user", "dropped: fewer than three interactions"),
        (repeated_items, "row", "of the file of items for an item of an earlier row"),
        (same, "item", "with the title of another item"),
    ]
    lines = [f"{plural(count, noun)} {what}" for count, noun, what in counts if count]
    if untitled:
        lines.append(
            f"{untitled:,} of {items:,} items have no title, which the title and hybrid paradigms need"
        )
    if statistics.time_range is None:
        lines.append("there are no timestamps: the protocols soft and temporal cannot be used")
    for phase, tied in statistics.tied_targets.items():
        asked = statistics.requests[phase]
        if tied > TIED_SHARE * asked:
            lines.append(f"{tied:,} of {asked:,} {phase} targets are decided by ties of timestamps")
    return lines


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write compressed CSV without the time of day, so that the same rows give the same bytes."""
    with path.open("wb") as out, gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=0) as packed:
        writer = csv.writer(io.TextIOWrapper(packed, encoding="utf-8", newline="", write_through=True))
        writer.writerow(header)
        writer.writerows(rows)


def _toml(value: str | Sequence[str]) -> str:
    """A string or a list of strings in TOML: as in JSON, but for DEL, which TOML wants escaped."""
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return os.fsencode(text).decode(errors="replace")  # words of the command line may be no UTF-8
