"""A split without its test targets, for code outside recbench: JSON lines, or RecBole's atomic files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbench.data import Catalogue, Ints, Requests, TrainingData
from recbench.errors import DataError, MissingError, UsageError
from recbench.spec import Phase
from recbench.split import PreparedSplit, load_requests, load_training, load_users

RECORD = "split.json"
RANKING_FORM = (
    'one line for every user of the test file, best item first: {"user": "7", "items": ["3", "12"]}; '
    "it comes back with this very file, by which the split is known, and with the protocol of the export"
)
Writer = Callable[[PreparedSplit, Path, bool], None]


def export(split: PreparedSplit, folder: Path, *, form: str, exclude_seen: bool) -> None:
    """Write the split to a new folder, whole or not at all.

    `split.json` there holds the digests by which a ranking that comes back is known, and says how it does.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already", mend="--to with another folder")
    partial = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        FORMS[form](split, partial, exclude_seen)
        record = {
            "dataset": split.dataset,
            "history": split.history,
            "digests": dict(split.digests),
            "statistics": dict(split.statistics),
            "ranking": {
                "form": RANKING_FORM,
                "bring": f"recbench import-ranking RANKING.jsonl --name NAME -d {split.dataset} "
                f"--protocol PROTOCOL --split {RECORD}",
            },
        }
        (partial / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        partial.rename(folder)
    except OSError as error:
        raise MissingError(f"{folder} cannot be written", why=str(error)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_jsonl(split: PreparedSplit, folder: Path, exclude_seen: bool) -> None:
    """`items`, `train`, `valid` (with targets) and `test` (without): one object a line, the source's ids."""
    data, users = load_training(split.folder), load_users(split.folder)
    _lines(folder / "items.jsonl", _items(data.catalogue))
    _lines(folder / "train.jsonl", _sequences(data, users))
    for phase, targets in _targets(data):
        requests = load_requests(split.folder, phase, exclude_seen=exclude_seen)
        _lines(folder / f"{phase}.jsonl", _requests(requests, targets, data.catalogue, users))


def write_atomic(split: PreparedSplit, folder: Path, exclude_seen: bool) -> None:  # noqa: ARG001  # a Writer
    """RecBole's files of a ready split: `NAME.train.inter`, one row a target with the history before it,
    `NAME.valid.inter`, `NAME.test.inter` without its targets, and `NAME.item`."""
    data, users = load_training(split.folder), load_users(split.folder)
    ids = data.catalogue.item_ids
    spaced = next((name for name in (*ids, *users) if name.split() != [name]), None)
    if spaced is not None:
        raise DataError(
            f"'{spaced}' cannot stand in an atomic file", why="blanks part items there", mend="--form jsonl"
        )
    name = split.dataset
    row = ("user_id:token", "item_id_list:token_seq", "item_id:token")
    _table(folder / f"{name}.train.inter", row, _training_rows(data, users))
    for phase, targets in _targets(data):
        requests = load_requests(split.folder, phase, exclude_seen=False)
        rows = (
            [users[int(user)], _named(history, ids), *([] if targets is None else [ids[int(targets[r])]])]
            for r, (user, history) in enumerate(zip(requests.user, requests.history, strict=True))
        )
        _table(folder / f"{name}.{phase}.inter", row if targets is not None else row[:2], rows)
    texts = zip(ids, data.catalogue.titles, data.catalogue.categories, strict=True)
    _table(folder / f"{name}.item", ("item_id:token", "title:token_seq", "categories:token_seq"), texts)


FORMS: Mapping[str, Writer] = {"jsonl": write_jsonl, "atomic": write_atomic}


def _targets(data: TrainingData) -> tuple[tuple[Phase, Ints | None], ...]:
    return ("valid", data.valid.target), ("test", None)


def _items(catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    for item, title, categories in zip(
        catalogue.item_ids, catalogue.titles, catalogue.categories, strict=True
    ):
        yield {"item": item, "title": title, "categories": categories}


def _sequences(data: TrainingData, users: Sequence[str]) -> Iterator[dict[str, Any]]:
    """`sampled`, where the protocol draws targets for language models: their places in `items`."""
    sampled = np.zeros(len(data.sequences.values), dtype=bool)
    if data.sample is not None:
        sampled[data.sample] = True
    for row, items in enumerate(data.sequences):
        record: dict[str, Any] = {"user": users[row], "items": [data.catalogue.item_ids[i] for i in items]}
        if data.sample is not None:
            first = int(data.sequences.offsets[row])
            record["sampled"] = np.flatnonzero(sampled[first : first + len(items)]).tolist()
        yield record


def _requests(
    requests: Requests, targets: Ints | None, catalogue: Catalogue, users: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for row, user in enumerate(requests.user):
        record: dict[str, Any] = {"user": users[int(user)]}
        lists = {"history": requests.history, "candidates": requests.allowed, "excluded": requests.excluded}
        for name, items in lists.items():
            if items is not None:
                record[name] = [catalogue.item_ids[item] for item in items[row]]
        if targets is not None:
            record["target"] = catalogue.item_ids[int(targets[row])]
        yield record


def _training_rows(data: TrainingData, users: Sequence[str]) -> Iterator[Sequence[str]]:
    ids = data.catalogue.item_ids
    for user, items in zip(users, data.sequences, strict=False):  # those who only ask stand behind
        for place in range(1, len(items)):
            history = items[max(0, place - data.history) : place]
            yield user, _named(history, ids), ids[int(items[place])]


def _named(items: Ints, ids: Sequence[str]) -> str:
    return " ".join(ids[item] for item in items)


def _lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines("\t".join(row) + "\n" for row in [header, *rows])
