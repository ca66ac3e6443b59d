"""A prepared split on disk: its record, and the readers of its files, each checked against its digest.

R requests, U users. A user has one request in a phase at most, unless the protocol lets users ask repeatedly.
In the user table, users with training items come first, so row u of the training sequences is user u; users
with requests alone follow.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.base.files import parse_json
from recbench.data import Catalogue, Examples, Ints, Ragged, Requests, TrainingData, ragged_from
from recbench.errors import DigestError
from recbench.protocol import Phase

RECORD = "split.json"
TARGET_FILES: Mapping[Phase, str] = {"valid": "valid.npz", "test": "targets_test.npz"}

Bins = Sequence[tuple[str, int]]
"""Label and count of every bin of a histogram, in order."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Four numbers of a distribution."""

    min: int
    median: float
    mean: float
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts of the filtered log, of its split, and of what each rule removed. None where a count does not
    apply to the dataset or to the protocol."""

    users: int
    items: int
    interactions: int
    density: float
    sequence_length: Spread
    item_frequency: Spread
    items_with_title: int
    distinct_titles: int
    title_words: Spread | None = None
    items_with_categories: int
    time_range: Sequence[str] | None = None
    """The days of the first and the last interaction, `YYYY-MM-DD`; None without timestamps."""
    split: str
    """The rule that held out the targets."""
    split_users: int
    training_users: int
    training_interactions: int
    training_targets: int
    sampled_targets: int | None = None
    """Training targets of language models, where the protocol draws them."""
    cuts: Mapping[Phase, int] | None = None
    """First moment of each phase under a time cut."""
    ticks: int | None = None
    """Units of a moment a second; None for whole seconds."""
    requests: Mapping[Phase, int]
    cold_targets: Mapping[Phase, int]
    """Targets that occur in no training sequence."""
    tied_targets: Mapping[Phase, int]
    """Targets that another order of interactions of the same moment would replace."""
    listed_steps: Mapping[Phase, int] | None = None
    """Evaluation steps that the source lists with candidates."""
    rules: Mapping[str, int]
    """What each rule of datasets/README.md removed or noted."""

    def to_json(self) -> dict[str, Any]:
        """The counts by name, in the order of the fields, without those that do not apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Statistics:
        names = ("sequence_length", "item_frequency", "title_words")
        return cls(**{**record, **{name: Spread(**record[name]) for name in names if name in record}})


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSplit:
    """The record of a split, `split.json`, and the folder that it describes."""

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
    statistics: Statistics
    distributions: Mapping[str, Bins]
    """Histograms of the filtered log, by what is counted."""
    files: Mapping[str, str]
    """sha256 of every other file, by name."""

    @property
    def num_users(self) -> int:
        """Users of this split; with `limit_users`, fewer than the dataset has."""
        return self.statistics.split_users

    @property
    def num_items(self) -> int:
        return self.statistics.items

    def to_json(self) -> dict[str, Any]:
        """The content of `split.json`."""
        record = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "folder"}
        return record | {"statistics": self.statistics.to_json()}


def load_split(folder: Path) -> PreparedSplit:
    """The record of a prepared split. DigestError where it is missing or cannot be read."""
    try:
        record = parse_json((folder / RECORD).read_text(encoding="utf-8"))
        statistics = Statistics.from_json(record.pop("statistics"))
        return PreparedSplit(folder=folder, statistics=statistics, **record)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        why = str(error) if isinstance(error, OSError | ValueError) else "it does not have the fields of one"
        raise DigestError(f"{folder / RECORD} cannot be read", why=why, fix=remake(folder)) from None


def find_split(cache: Path, split: str) -> PreparedSplit | None:
    """The prepared split in the cache that records the digest `split`; None where it is not there."""
    for path in sorted((cache / "split").glob(f"[!.]*/{RECORD}")):
        try:
            recorded = parse_json(path.read_bytes())["digests"]["split"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if recorded == split:
            return load_split(path.parent)
    return None


def check_files(split: PreparedSplit) -> None:
    """Raise DigestError, naming the file, unless every file of the split is unchanged."""
    for name in split.files:
        _content(split, name)


def load_training(folder: Path) -> TrainingData:
    """All that a method may learn from. Never opens the file of the test targets."""
    split = load_split(folder)
    training = _arrays(split, "training.npz")
    sequences = ragged_from(training, "sequences")
    return TrainingData(
        catalogue=_catalogue(split, sequences),
        sequences=sequences,
        valid=Examples(
            requests=_requests(split, "valid", exclude_seen=False), target=_targets(split, "valid")
        ),
        history=split.history,
        sample=training["sample"].astype(np.int64) if "sample" in training else None,
        digests=split.digests,
    )


def load_catalogue(folder: Path) -> Catalogue:
    """The items, with their popularity in training."""
    split = load_split(folder)
    return _catalogue(split, ragged_from(_arrays(split, "training.npz"), "sequences"))


def load_requests(folder: Path, phase: Phase, *, exclude_seen: bool) -> Requests:
    """The requests of a phase, by user. Never opens the file of the test targets.

    Items between the training items and the target, such as the validation item, belong to the history of
    the test phase. With `exclude_seen`, `excluded` has every earlier item of the user, including those
    before the window. Candidates are present where the protocol has lists.
    """
    return _requests(load_split(folder), phase, exclude_seen=exclude_seen)


def load_targets(folder: Path, phase: Phase) -> Ints:
    """[R] the item that came next, in the order of the phase's requests."""
    return _targets(load_split(folder), phase)


def load_users(folder: Path) -> tuple[str, ...]:
    """[U] the source's ids of the split's users, by row."""
    return tuple(json.loads(_content(load_split(folder), "users.json")))


def remake(folder: Path) -> str:
    """The fix for a split that differs from its record or from its raw files."""
    return f"rm -r {folder}   (it is made again when it is next needed)"


def _content(split: PreparedSplit, name: str) -> bytes:
    """The bytes of a file. DigestError unless they are those written when the split was made."""
    path = split.folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DigestError(f"{path} cannot be read", why=str(error), fix=remake(split.folder)) from None
    got = hashlib.sha256(content).hexdigest()
    if got != split.files[name]:
        raise DigestError(
            f"{path} has changed since it was made",
            why=f"sha256 is {got}, {RECORD} records {split.files[name]}",
            fix=remake(split.folder),
        )
    return content


def _arrays(split: PreparedSplit, name: str) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(_content(split, name)), allow_pickle=False) as arrays:
        return dict(arrays)


def _requests(split: PreparedSplit, phase: Phase, *, exclude_seen: bool) -> Requests:
    arrays = _arrays(split, f"requests_{phase}.npz")
    seen = ragged_from(arrays, "seen")
    return Requests(
        user=arrays["user"].astype(np.int64),
        history=seen.last(split.history),
        allowed=ragged_from(arrays, "allowed") if "allowed_offsets" in arrays else None,
        excluded=seen if exclude_seen else None,
    )


def _targets(split: PreparedSplit, phase: Phase) -> Ints:
    return _arrays(split, TARGET_FILES[phase])["target"].astype(np.int64)


def _catalogue(split: PreparedSplit, sequences: Ragged) -> Catalogue:
    table = json.loads(_content(split, "catalogue.json"))
    return Catalogue(
        item_ids=tuple(table["item_ids"]),
        titles=tuple(table["titles"]),
        categories=tuple(table["categories"]),
        popularity=np.bincount(sequences.values, minlength=len(table["item_ids"])).astype(np.int64),
        codes=np.array(table["codes"], dtype=np.int64) if "codes" in table else None,
    )
