"""What leaves for code outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench import card as cards
from recbench.errors import UsageError
from recbench.export import export
from recbench.prepare import prepare
from recbench.protocol import get_protocol
from recbench.split import PreparedSplit, load_requests, load_targets, load_training, load_users

MakeSplit = Callable[..., PreparedSplit]


@pytest.fixture(scope="module")
def make_split(tmp_path_factory: pytest.TempPathFactory) -> MakeSplit:
    """The planted set under a protocol."""
    cache = tmp_path_factory.mktemp("cache")
    card = cards.find("synthetic", None)
    return lambda name="ilrec": prepare(card, get_protocol(name), cache=cache, data_dir=None)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("protocol", ["ilrec", "soft", "candidates"])
def test_json_lines_hold_the_split_without_its_test_targets(
    tmp_path: Path, make_split: MakeSplit, protocol: str
) -> None:
    split = make_split(protocol)
    export(split, tmp_path / "out", form="jsonl", exclude_seen=get_protocol(protocol).exclude_seen)
    data, users = load_training(split.folder), load_users(split.folder)
    train, valid, test = (read_lines(tmp_path / "out" / f"{p}.jsonl") for p in ("train", "valid", "test"))
    assert [row["items"] for row in train] == [[str(i) for i in row] for row in data.sequences]
    assert [row["user"] for row in train] == list(users[: len(train)])
    assert [row["target"] for row in valid] == [str(target) for target in data.valid.target]
    requests = load_requests(split.folder, "test", exclude_seen=protocol == "soft")
    assert [row["history"] for row in test] == [[str(i) for i in row] for row in requests.history]
    keys = {"ilrec": [], "soft": ["excluded"], "candidates": ["candidates"]}[protocol]
    assert [sorted(row) for row in test] == [sorted(["user", "history", *keys])] * len(test)
    if protocol == "soft":
        assert data.sample is not None
        places = [
            first + n
            for first, row in zip(data.sequences.offsets, train, strict=False)
            for n in row["sampled"]
        ]
        assert places == data.sample.tolist()
    record = json.loads((tmp_path / "out" / "split.json").read_text())
    assert record["digests"] == dict(split.digests)
    items = read_lines(tmp_path / "out" / "items.jsonl")
    assert [row["title"] for row in items] == list(data.catalogue.titles)


def test_no_exported_file_says_which_item_a_user_chose_last(tmp_path: Path, make_split: MakeSplit) -> None:
    """User u's whole past is in the files, and the test target is nowhere with that user."""
    split = make_split()
    targets = load_targets(split.folder, "test")
    users = load_users(split.folder)
    for form in ("jsonl", "atomic"):
        folder = tmp_path / form
        export(split, folder, form=form, exclude_seen=False)
        seen: dict[str, set[str]] = {user: set() for user in users}
        for path in folder.iterdir():
            if path.suffix == ".jsonl" and path.stem != "items":
                for row in read_lines(path):
                    lists = [row.get("items", []), row.get("history", []), [row.get("target")]]
                    seen[str(row["user"])] |= {str(item) for part in lists for item in part}
            elif path.suffix == ".inter":
                for line in path.read_text().splitlines()[1:]:
                    user, *cells = line.split("\t")
                    seen[user] |= set(" ".join(cells).split())
        assert all(seen.values())
        assert not [user for user, target in zip(users, targets, strict=True) if str(target) in seen[user]]


def test_atomic_files_have_a_row_for_each_target(tmp_path: Path, make_split: MakeSplit) -> None:
    split = make_split()
    export(split, tmp_path / "out", form="atomic", exclude_seen=False)
    data = load_training(split.folder)
    train, valid, test = (
        [line.split("\t") for line in (tmp_path / "out" / f"synthetic.{part}.inter").read_text().splitlines()]
        for part in ("train", "valid", "test")
    )
    assert train[0] == valid[0] == ["user_id:token", "item_id_list:token_seq", "item_id:token"]
    assert test[0] == ["user_id:token", "item_id_list:token_seq"]
    first = [str(item) for item in data.sequences[0]]
    assert train[1:3] == [["0", first[0], first[1]], ["0", " ".join(first[:2]), first[2]]]
    assert len(train) - 1 == data.num_targets
    assert len(valid) == len(test) == 601
    items = (tmp_path / "out" / "synthetic.item").read_text().splitlines()
    assert items[:2] == ["item_id:token\ttitle:token_seq\tcategories:token_seq", "0\tamber boat\tboat"]


RECBOLE = """
import json, sys
folder, sys.argv = sys.argv[1], sys.argv[:1]
import numpy as np, pandas as pd
# RecBole 1.2.1 sets names that NumPy 2 removed, and asks for lengths in a way that pandas 3 reads otherwise
for name, stands_for in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
    setattr(np, name, stands_for)
aggregate = pd.Series.agg
pd.Series.agg = lambda self, how, *a, **k: self.map(len) if how is len else aggregate(self, how, *a, **k)
from recbole.config import Config
from recbole.data import create_dataset
settings = {
    "data_path": folder,
    "benchmark_filename": ["train", "valid", "valid"],
    "load_col": {"inter": ["user_id", "item_id_list", "item_id"], "item": ["item_id"]},
    "alias_of_item_id": ["item_id_list"],
    "train_neg_sample_args": None,
    "MAX_ITEM_LIST_LENGTH": 20,
    "use_gpu": False,
}
dataset = create_dataset(Config(model="SASRec", dataset="synthetic", config_dict=settings))
name = lambda items: [str(dataset.id2token("item_id", int(item))) for item in items if int(item)]
rows = []
for part in dataset.build()[:2]:
    one = part.inter_feat
    users = [str(dataset.id2token("user_id", int(user))) for user in one["user_id"]]
    rows.append([[u, name(h), name([t])[0]] for u, h, t in zip(users, one["item_id_list"], one["item_id"])])
json.dump(rows, open(f"{folder}/rows.json", "w"))
"""


@pytest.mark.slow
def test_recbole_reads_the_very_same_split(tmp_path: Path, make_split: MakeSplit) -> None:
    pytest.importorskip("recbole")
    split = make_split()
    export(split, tmp_path / "synthetic", form="atomic", exclude_seen=False)
    subprocess.run([sys.executable, "-c", RECBOLE, str(tmp_path)], cwd=tmp_path, check=True)
    train, valid = json.loads((tmp_path / "rows.json").read_text())
    data, users = load_training(split.folder), load_users(split.folder)
    assert sorted(train) == sorted(
        [user, [str(item) for item in items[max(0, place - 20) : place]], str(items[place])]
        for user, items in zip(users, data.sequences, strict=True)
        for place in range(1, len(items))
    )
    requests = zip(users, data.valid.requests.history, data.valid.target, strict=True)
    assert sorted(valid) == sorted(
        [user, [str(i) for i in seen], str(target)] for user, seen, target in requests
    )


def test_an_export_never_writes_over_anything(tmp_path: Path, make_split: MakeSplit) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        export(make_split(), tmp_path / "out", form="jsonl", exclude_seen=False)
    assert not list((tmp_path / "out").iterdir())
