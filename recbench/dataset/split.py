"""A prepared split on disk: what every reader of it may open, and that it is what was written.

R requests, U users. A user asks at most once in a phase. Users with training items come first in the user
table, so row u of the training sequences is user u; behind them stand those who only ask.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Catalogue, Examples, Ints, Ragged, Requests, TrainingData, ragged_from
from recbench.errors import DigestError
from recbench.protocol import Phase

TARGET_FILES: Mapping[Phase, str] = {"valid": "valid.npz", "test": "targets_test.npz"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSplit:
    """What `split.json` records about the folder beside it."""

    folder: Path
    dataset: str
    title: str
    noun: str
    history: int
    limit_users: int | None
    data_seed: int
    source: str
    """The raw format that was read."""
    digests: Mapping[str, str]
    """raw, log, split, catalogue"""
    statistics: Mapping[str, Any]
    """Counts of the filtered log, of the split, of every rule that removed something, of tied targets."""
    distributions: Mapping[str, Any]
    """Histograms of the filtered log, by what is counted: `bins`, each a label and a count."""

    @property
    def num_users(self) -> int:
        """Users of this split; with `limit_users`, fewer than the dataset has."""
        return int(self.statistics["split_users"])

    @property
    def num_items(self) -> int:
        return int(self.statistics["items"])


def load_split(folder: Path) -> PreparedSplit:
    """The record of a prepared split. DigestError where it is missing or cannot be read."""
    record = _record(folder)
    return PreparedSplit(folder=folder, **{key: value for key, value in record.items() if key != "files"})


def check_files(folder: Path) -> None:
    """Raise DigestError, naming the file, unless every file of a split is as it was made."""
    record = _record(folder)
    for name in record["files"]:
        _content(folder, record, name)


def load_training(folder: Path) -> TrainingData:
    """All that a method may learn from. Never opens the file with the test targets."""
    record = _record(folder)
    training = _arrays(folder, record, "training.npz")
    sequences = ragged_from(training, "sequences")
    requests = _requests(folder, record, "valid", exclude_seen=False)
    return TrainingData(
        catalogue=_catalogue(folder, record, sequences),
        sequences=sequences,
        valid=Examples(requests=requests, target=_target(folder, record, "valid")),
        history=record["history"],
        sample=training["sample"].astype(np.int64) if "sample" in training else None,
        digests=record["digests"],
    )


def load_requests(folder: Path, phase: Phase, *, exclude_seen: bool) -> Requests:
    """Who asks in a phase, by user. What lies between the training items and the target, such as the
    validation item, belongs to the history of the test phase. Never opens the file with the test targets.

    With `exclude_seen`, `excluded` holds every earlier item of the user, also those before the window.
    Candidates are there where the protocol has lists.
    """
    return _requests(folder, _record(folder), phase, exclude_seen=exclude_seen)


def load_targets(folder: Path, phase: Phase) -> Ints:
    """[R] the item that came next, in the order of the phase's requests."""
    return _target(folder, _record(folder), phase)


def load_users(folder: Path) -> tuple[str, ...]:
    """[U] the source's names of the split's users, by row."""
    return tuple(json.loads(_content(folder, _record(folder), "users.json")))


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DigestError(
            f"{folder / 'split.json'} cannot be read", why=str(error), fix=_mend(folder)
        ) from None
    return record


def _content(folder: Path, record: Mapping[str, Any], name: str) -> bytes:
    """The bytes of a file, which are those that were written when the split was made."""
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DigestError(f"{path} cannot be read", why=str(error), fix=_mend(folder)) from None
    expected, got = record["files"][name], hashlib.sha256(content).hexdigest()
    if got != expected:
        raise DigestError(
            f"{path} has changed since it was made",
            why=f"sha256 is {got}, split.json records {expected}",
            fix=_mend(folder),
        )
    return content


def _mend(folder: Path) -> str:
    return f"rm -r {folder}   (it is made again when it is next needed)"


def _arrays(folder: Path, record: Mapping[str, Any], name: str) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(_content(folder, record, name)), allow_pickle=False) as arrays:
        return dict(arrays)


def _requests(folder: Path, record: Mapping[str, Any], phase: Phase, *, exclude_seen: bool) -> Requests:
    arrays = _arrays(folder, record, f"requests_{phase}.npz")
    seen = ragged_from(arrays, "seen")
    return Requests(
        user=arrays["user"].astype(np.int64),
        history=seen.last(record["history"]),
        allowed=ragged_from(arrays, "allowed") if "allowed_offsets" in arrays else None,
        excluded=seen if exclude_seen else None,
    )


def _target(folder: Path, record: Mapping[str, Any], phase: Phase) -> Ints:
    return _arrays(folder, record, TARGET_FILES[phase])["target"].astype(np.int64)


def _catalogue(folder: Path, record: Mapping[str, Any], sequences: Ragged) -> Catalogue:
    table = json.loads(_content(folder, record, "catalogue.json"))
    return Catalogue(
        item_ids=tuple(table["item_ids"]),
        titles=tuple(table["titles"]),
        categories=tuple(table["categories"]),
        popularity=np.bincount(sequences.values, minlength=len(table["item_ids"])).astype(np.int64),
        codes=np.array(table["codes"], dtype=np.int64) if "codes" in table else None,
    )
