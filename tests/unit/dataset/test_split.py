"""Reading a prepared split: what each reader gives, checks, and must not open."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from recbench.data import Ragged
from recbench.dataset.card import DatasetCard, RawFile, Source
from recbench.dataset.prepare import prepare
from recbench.dataset.split import (
    PreparedSplit,
    Statistics,
    load_requests,
    load_split,
    load_targets,
    load_training,
    load_users,
)
from recbench.errors import DigestError
from recbench.protocol import get_protocol

LENGTHS = {"7": 25, "30": 22, "100": 3}
"""Items of each user: the user called N takes items N, N + 1, ..."""


@pytest.fixture
def split(tmp_path: Path) -> PreparedSplit:
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = [(user, int(user) + place, place) for user, length in LENGTHS.items() for place in range(length)]
    interactions = "user_id,item_id,position\n" + "".join(f"{u},{i},{p}\n" for u, i, p in rows)
    items = "item_id,title,categories\n" + "".join(f"{i},item {i},\n" for i in range(7, 103))
    (folder / "interactions.csv.gz").write_bytes(gzip.compress(interactions.encode()))
    (folder / "items.csv.gz").write_bytes(gzip.compress(items.encode()))
    source = Source(
        format="normalised",
        folder=str(folder),
        interactions=RawFile(name="interactions.csv.gz"),
        items=RawFile(name="items.csv.gz"),
    )
    card = DatasetCard(name="tiny", title="T", noun="thing", citation="", terms="", sources=(source,))
    return prepare(card, get_protocol("ilrec"), cache=tmp_path / "cache", data_dir=None)


def ids(split: PreparedSplit, rows: Ragged) -> list[list[int]]:
    names = load_training(split.folder).catalogue.item_ids
    return [[int(names[item]) for item in row] for row in rows]


def test_validation_histories_end_before_the_validation_item(split: PreparedSplit) -> None:
    """User 7 has items 7..31: training 7..29, valid 30, test 31; the window is 20 long."""
    requests = load_requests(split.folder, "valid", exclude_seen=False)
    assert ids(split, requests.history) == [list(range(10, 30)), list(range(30, 50)), [100]]
    assert ids(split, Ragged.of([load_targets(split.folder, "valid")])) == [[30, 50, 101]]
    assert requests.user.tolist() == [0, 1, 2]
    assert requests.excluded is None
    assert requests.allowed is None


def test_test_histories_include_the_validation_item(split: PreparedSplit) -> None:
    requests = load_requests(split.folder, "test", exclude_seen=False)
    assert ids(split, requests.history) == [list(range(11, 31)), list(range(31, 51)), [100, 101]]
    assert ids(split, Ragged.of([load_targets(split.folder, "test")])) == [[31, 51, 102]]


def test_masks_hold_all_earlier_items_also_those_before_the_window(split: PreparedSplit) -> None:
    valid = load_requests(split.folder, "valid", exclude_seen=True)
    test = load_requests(split.folder, "test", exclude_seen=True)
    assert valid.excluded is not None
    assert test.excluded is not None
    assert ids(split, valid.excluded) == [list(range(7, 30)), list(range(30, 50)), [100]]
    assert ids(split, test.excluded) == [list(range(7, 31)), list(range(30, 51)), [100, 101]]


def test_training_sequences_are_not_cut(split: PreparedSplit) -> None:
    data = load_training(split.folder)
    assert ids(split, data.sequences) == [list(range(7, 30)), list(range(30, 50)), [100]]
    assert load_users(split.folder) == ("7", "30", "100")
    assert data.catalogue.popularity.sum() == len(data.sequences.values) == 23 + 20 + 1
    assert data.num_targets == 22 + 19 + 0
    assert ids(split, Ragged.of([data.valid.target])) == [[30, 50, 101]]
    assert data.valid.requests.excluded is None


def test_the_record_on_disk_is_the_one_that_prepare_returned(split: PreparedSplit) -> None:
    assert load_split(split.folder) == split
    assert dict(load_training(split.folder).digests) == split.digests
    assert list(split.digests) == ["raw", "log", "split", "catalogue"]
    assert split.statistics.tied_targets == {"valid": 0, "test": 0}  # without times, positions decide


READERS: Mapping[str, Callable[[Path], object]] = {
    "catalogue.json": load_training,
    "training.npz": load_training,
    "requests_valid.npz": load_training,
    "valid.npz": lambda folder: load_targets(folder, "valid"),
    "requests_test.npz": lambda folder: load_requests(folder, "test", exclude_seen=False),
    "targets_test.npz": lambda folder: load_targets(folder, "test"),
    "users.json": load_users,
}


def test_every_file_of_a_split_has_a_reader_below(split: PreparedSplit) -> None:
    assert set(READERS) == set(json.loads((split.folder / "split.json").read_text())["files"])


@pytest.mark.parametrize("name", READERS)
def test_one_changed_byte_is_refused_by_name(split: PreparedSplit, name: str) -> None:
    path = split.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DigestError, match=f"{name} has changed since it was made") as refused:
        READERS[name](split.folder)
    assert refused.value.exit_code == 4
    assert refused.value.fix.startswith(f"rm -r {split.folder}")


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_refused_by_name(split: PreparedSplit, name: str) -> None:
    (split.folder / name).unlink()
    with pytest.raises(DigestError, match=f"{name} cannot be read"):
        READERS[name](split.folder)


def test_a_record_that_is_missing_or_cut_off_is_refused(split: PreparedSplit) -> None:
    record = split.folder / "split.json"
    record.write_text(record.read_text()[:100])
    with pytest.raises(DigestError, match=r"split\.json cannot be read"):
        load_training(split.folder)
    record.unlink()
    with pytest.raises(DigestError, match=r"split\.json cannot be read"):
        load_split(split.folder)


@pytest.mark.parametrize("change", [{"statistics": {"users": 3}}, {"files": None, "more": 1}, []])
def test_a_record_of_other_fields_is_refused(split: PreparedSplit, change: object) -> None:
    path = split.folder / "split.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **change} if isinstance(change, dict) else change))
    with pytest.raises(DigestError, match=r"split\.json cannot be read") as refused:
        load_training(split.folder)
    assert "does not have the fields" in refused.value.why


def test_statistics_come_back_from_json_as_they_went(split: PreparedSplit) -> None:
    record = split.statistics.to_json()
    assert "time_range" not in record  # only positions
    assert Statistics.from_json(json.loads(json.dumps(record))) == split.statistics


WATCH = """
import sys
from pathlib import Path
from recbench.dataset.split import load_requests, load_split, load_targets, load_training, load_users
opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(Path(str(args[0])).name))
folder = Path(sys.argv[1])
load_split(folder), load_training(folder), load_users(folder)
for exclude_seen in (False, True):
    load_requests(folder, "valid", exclude_seen=exclude_seen)
    load_requests(folder, "test", exclude_seen=exclude_seen)
load_targets(folder, "valid")
before = sorted(set(opened))
load_targets(folder, "test")
print(*before, "|", *sorted(set(opened) - set(before)))
"""


def test_only_reading_the_test_targets_opens_their_file(split: PreparedSplit) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(split.folder)], capture_output=True, text=True, check=True
    )
    before, after = done.stdout.split("|")
    assert {"training.npz", "requests_test.npz", "valid.npz"} <= set(before.split())
    assert "targets_test.npz" not in before.split()
    assert after.split() == ["targets_test.npz"]
