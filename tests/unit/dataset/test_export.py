"""What leaves for code outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recbench.dataset.export import export
from recbench.dataset.split import load_requests, load_targets, load_training, load_users
from recbench.errors import UsageError
from recbench.protocol import get_protocol
from tests.unit.conftest import MakeSplit


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of an atomic file by column, without the types."""
    head, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return [dict(zip([name.partition(":")[0] for name in head], row, strict=True)) for row in rows]


@pytest.mark.parametrize("protocol", ["ilrec", "soft", "candidates"])
def test_json_lines_hold_the_split_without_its_test_targets(
    tmp_path: Path, make_split: MakeSplit, protocol: str
) -> None:
    split = make_split(protocol)
    export(split, tmp_path / "out", form="jsonl", protocol=get_protocol(protocol))
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
        export(split, folder, form=form, protocol=get_protocol("ilrec"))
        seen: dict[str, set[str]] = {user: set() for user in users}
        for path in folder.iterdir():
            if path.suffix == ".jsonl" and path.stem != "items":
                for row in read_lines(path):
                    lists = [row.get("items", []), row.get("history", []), [row.get("target")]]
                    seen[str(row["user"])] |= {str(item) for part in lists for item in part}
            elif path.suffix == ".inter":
                for row in read_table(path):
                    items = " ".join(row.get(name, "") for name in ("item_id_list", "item_id"))
                    seen[row["user_id"]] |= set(items.split())
        assert all(seen.values())
        assert not [user for user, target in zip(users, targets, strict=True) if str(target) in seen[user]]


def test_atomic_files_have_a_row_for_each_target(tmp_path: Path, make_split: MakeSplit) -> None:
    split = make_split()
    export(split, tmp_path / "out", form="atomic", protocol=get_protocol("ilrec"))
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


@pytest.mark.parametrize("protocol", ["ilrec", "soft", "candidates", "temporal"])
def test_atomic_files_hold_what_the_json_lines_hold(
    tmp_path: Path, make_split: MakeSplit, protocol: str
) -> None:
    """Also the candidates, the masked items, the drawn targets, and the users of a single training item."""
    split = make_split(protocol)
    for form in ("jsonl", "atomic"):
        export(split, tmp_path / form, form=form, protocol=get_protocol(protocol))
    sequences: dict[str, list[str]] = {}
    for row in read_table(tmp_path / "atomic" / "synthetic.inter"):
        assert float(row["place"]) == len(sequences.setdefault(row["user_id"], []))
        sequences[row["user_id"]].append(row["item_id"])
    train = read_lines(tmp_path / "jsonl" / "train.jsonl")
    assert sequences == {row["user"]: row["items"] for row in train}
    drawn = [row.get("sampled") for row in read_table(tmp_path / "atomic" / "synthetic.train.inter")]
    places = [(place, row.get("sampled")) for row in train for place in range(1, len(row["items"]))]
    assert drawn == [None if inside is None else str(int(place in inside)) for place, inside in places]
    for phase in ("valid", "test"):
        asked = read_lines(tmp_path / "jsonl" / f"{phase}.jsonl")
        names = {"user": "user_id", "history": "item_id_list", "target": "item_id"}
        assert read_table(tmp_path / "atomic" / f"synthetic.{phase}.inter") == [
            {
                names.get(key, key): value if isinstance(value, str) else " ".join(value)
                for key, value in row.items()
            }
            for row in asked
        ]


def recipe() -> str:
    """The program in the datasets' README that reads an export with RecBole."""
    readme = Path(__file__).parents[3] / "datasets" / "README.md"
    return readme.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


SAY = """
import json
name = lambda items: [str(dataset.id2token("item_id", int(item))) for item in items if int(item)]
rows = []
for part in (train, valid):
    feat = part.inter_feat
    users = [str(dataset.id2token("user_id", int(user))) for user in feat["user_id"]]
    rows.append([[u, name(h), name([t])[0]] for u, h, t in zip(users, feat["item_id_list"], feat["item_id"])])
json.dump([dataset.item_num, rows], open("rows.json", "w"))
"""


@pytest.mark.parametrize(
    "protocol", [pytest.param("soft", marks=pytest.mark.slow), "temporal"]
)  # more columns; users of a single item
def test_recbole_reads_the_very_same_split_as_the_readme_says(
    tmp_path: Path, make_split: MakeSplit, protocol: str
) -> None:
    pytest.importorskip("recbole", reason="RecBole reads the files: pip install --no-deps recbole==1.2.1")
    split = make_split(protocol)
    export(split, tmp_path / "out" / "synthetic", form="atomic", protocol=get_protocol(protocol))
    program = recipe().replace("game", "synthetic")
    subprocess.run([sys.executable, "-c", program + SAY], cwd=tmp_path, check=True)
    num_items, (train, valid) = json.loads((tmp_path / "rows.json").read_text())
    data, users = load_training(split.folder), load_users(split.folder)
    assert num_items == data.num_items + 1  # its item 0 is padding
    assert sorted(train) == sorted(
        [users[row], [str(item) for item in items[max(0, place - data.history) : place]], str(items[place])]
        for row, items in enumerate(data.sequences)
        for place in range(1, len(items))
    )
    asked = data.valid.requests
    assert sorted(valid) == sorted(
        [users[int(user)], [str(i) for i in seen], str(target)]
        for user, seen, target in zip(asked.user, asked.history, data.valid.target, strict=True)
    )


def test_an_export_never_writes_over_anything(tmp_path: Path, make_split: MakeSplit) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        export(make_split(), tmp_path / "out", form="jsonl", protocol=get_protocol("ilrec"))
    assert not list((tmp_path / "out").iterdir())
