"""Write a split without its test targets for other code: JSON lines, or RecBole's atomic files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.base.files import new_folder
from recbench.data import Catalogue, Ints, Ragged, Requests, TrainingData
from recbench.dataset.split import RECORD, PreparedSplit, load_requests, load_training, load_users
from recbench.errors import DataError, MissingError, UsageError
from recbench.protocol import EvalProtocol, Phase, estimand

ASKED, TARGET = ("user_id:token", "item_id_list:token_seq"), "item_id:token"
RANKING_FORM = (
    'a line for every user of the test file, best item first: {"user": "7", "items": ["3", "12"]}; '
    "bring it back with this file, which names the split"
)
REPEATED_FORM = (
    "a line for every request of the test file, best item first: "
    '{"user": "7", "request": 2, "items": ["3", "12"]}; bring it back with this file, which names the split'
)
Writer = Callable[[PreparedSplit, Path, bool], None]


def export(split: PreparedSplit, folder: Path, *, form: str, protocol: EvalProtocol) -> None:
    """Write the split that `protocol` made to a new folder, whole or not at all.

    `split.json` in that folder has the digests that identify the split of a ranking, and the command that
    imports the ranking.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already", fix="--to with another folder")
    record = {
        "dataset": split.dataset,
        "protocol": protocol.name,
        "history": split.history,
        "digests": dict(split.digests),
        "statistics": split.statistics.to_json(),
        **({"estimand": said} if (said := estimand(protocol.evaluation_part())) else {}),
        "ranking": {
            "form": REPEATED_FORM if protocol.asks == "repeatedly" else RANKING_FORM,
            "bring": f"recbench import-ranking RANKING.jsonl --name NAME -d {split.dataset} "
            f"--protocol {protocol.name} --split {RECORD}",
        },
    }
    try:
        with new_folder(folder) as partial:
            FORMS[form](split, partial, protocol.exclude_seen)
            (partial / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise MissingError(f"{folder} cannot be written", why=str(error)) from None


def write_jsonl(split: PreparedSplit, folder: Path, exclude_seen: bool) -> None:
    """Write `items`, `train`, `valid` (with targets) and `test` (without), an object a line, by source id."""
    data, users = load_training(split.folder), load_users(split.folder)
    _lines(folder / "items.jsonl", _items(data.catalogue))
    _lines(folder / "train.jsonl", _sequences(data, users))
    for phase, targets in _targets(data):
        requests = load_requests(split.folder, phase, exclude_seen=exclude_seen)
        _lines(folder / f"{phase}.jsonl", _requests(requests, targets, data.catalogue, users))


def write_atomic(split: PreparedSplit, folder: Path, exclude_seen: bool) -> None:
    """Write RecBole's files: `NAME.item`; `NAME.inter`, every training item with its position;
    `NAME.train.inter`, a row for each training target with the history before it; `NAME.valid.inter`; and
    `NAME.test.inter`, without targets. Where users ask repeatedly `request` numbers a user's requests.

    `sampled`, `candidates` and `excluded` are columns where the protocol draws, lists or masks. DataError for
    an id with blanks, which separate items in these files.
    """
    data, users = load_training(split.folder), load_users(split.folder)
    ids = data.catalogue.item_ids
    spaced = next((name for name in (*ids, *users) if name.split() != [name]), None)
    if spaced is not None:
        raise DataError(
            f"atomic files cannot have the id '{spaced}'",
            why="blanks separate items in these files",
            fix="--form jsonl",
        )
    name = split.dataset
    texts = zip(ids, data.catalogue.titles, data.catalogue.categories, strict=True)
    _table(folder / f"{name}.item", ("item_id:token", "title:token_seq", "categories:token_seq"), texts)
    placed = (
        (user, ids[item], str(position))
        for user, items in zip(users, data.sequences, strict=False)  # users with requests alone come last
        for position, item in enumerate(items)
    )
    _table(folder / f"{name}.inter", ("user_id:token", "item_id:token", "place:float"), placed)
    drawn = () if data.sample is None else ("sampled:float",)
    _table(folder / f"{name}.train.inter", (*ASKED, TARGET, *drawn), _training_rows(data, users))
    for phase, targets in _targets(data):
        requests = load_requests(split.folder, phase, exclude_seen=exclude_seen)
        lists = {f"{key}:token_seq": items for key, items in _lists(requests).items() if key != "history"}
        numbers = _numbers(requests)
        rows = (
            [
                users[int(user)],
                _named(requests.history[r], ids),
                *([] if numbers is None else [str(numbers[r])]),
                *([] if targets is None else [ids[int(targets[r])]]),
                *(_named(items[r], ids) for items in lists.values()),
            ]
            for r, user in enumerate(requests.user)
        )
        numbered = () if numbers is None else ("request:float",)
        header = (*ASKED, *numbered, *(() if targets is None else (TARGET,)), *lists)
        _table(folder / f"{name}.{phase}.inter", header, rows)


FORMS: Mapping[str, Writer] = {"jsonl": write_jsonl, "atomic": write_atomic}


def _targets(data: TrainingData) -> tuple[tuple[Phase, Ints | None], ...]:
    return ("valid", data.valid.target), ("test", None)


def _items(catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    for item, title, categories in zip(
        catalogue.item_ids, catalogue.titles, catalogue.categories, strict=True
    ):
        yield {"item": item, "title": title, "categories": categories}


def _sequences(data: TrainingData, users: Sequence[str]) -> Iterator[dict[str, Any]]:
    """`sampled`, where the protocol draws targets for language models: their positions in `items`."""
    sampled = _sampled(data)
    for row, items in enumerate(data.sequences):
        record: dict[str, Any] = {"user": users[row], "items": [data.catalogue.item_ids[i] for i in items]}
        if sampled is not None:
            first = int(data.sequences.offsets[row])
            record["sampled"] = np.flatnonzero(sampled[first : first + len(items)]).tolist()
        yield record


def _requests(
    requests: Requests, targets: Ints | None, catalogue: Catalogue, users: Sequence[str]
) -> Iterator[dict[str, Any]]:
    lists = _lists(requests)
    numbers = _numbers(requests)
    for row, user in enumerate(requests.user):
        record: dict[str, Any] = {"user": users[int(user)]}
        if numbers is not None:
            record["request"] = int(numbers[row])
        for name, items in lists.items():
            record[name] = [catalogue.item_ids[item] for item in items[row]]
        if targets is not None:
            record["target"] = catalogue.item_ids[int(targets[row])]
        yield record


def _numbers(requests: Requests) -> Ints | None:
    """[R] 1 for a user's first request, 2 for the second; None where nobody asks twice."""
    numbers = np.zeros(len(requests), dtype=np.int64)
    for row, before in enumerate(requests.user[:-1] == requests.user[1:], start=1):
        numbers[row] = numbers[row - 1] + 1 if before else 0
    return numbers + 1 if numbers.any() else None


def _lists(requests: Requests) -> dict[str, Ragged]:
    """The lists of items that each request has under the protocol, by name."""
    lists = {"history": requests.history, "candidates": requests.allowed, "excluded": requests.excluded}
    return {name: items for name, items in lists.items() if items is not None}


def _sampled(data: TrainingData) -> NDArray[np.bool_] | None:
    """Whether each value of the training sequences is a target for language models; None where all are."""
    if data.sample is None:
        return None
    sampled = np.zeros(len(data.sequences.values), dtype=bool)
    sampled[data.sample] = True
    return sampled


def _training_rows(data: TrainingData, users: Sequence[str]) -> Iterator[Sequence[str]]:
    ids, sampled = data.catalogue.item_ids, _sampled(data)
    for row, items in enumerate(data.sequences):
        first = int(data.sequences.offsets[row])
        for position in range(1, len(items)):
            history = items[max(0, position - data.history) : position]
            drawn = [] if sampled is None else [str(int(sampled[first + position]))]
            yield [users[row], _named(history, ids), ids[int(items[position])], *drawn]


def _named(items: Ints, ids: Sequence[str]) -> str:
    return " ".join(ids[item] for item in items)


def _lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write tab-separated rows, quoting texts with quotation marks as RecBole's reader (pandas) expects."""
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, delimiter="\t", lineterminator="\n").writerows([header, *rows])
