"""What leaves for code outside, and what comes back as a ranking."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench import bundle
from recbench import card as cards
from recbench.errors import CheckError, DataError, RecbenchError, UsageError
from recbench.export import export
from recbench.external import External, import_ranking, read_ranking
from recbench.method import Silent
from recbench.prepare import prepare
from recbench.protocol import EvalProtocol, get_protocol
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


FORMS = {
    "r.jsonl": '{"user": "a", "items": ["1", 2]}\n\n{"user_id": 7, "items": ["3"]}\n',
    "long.csv": "user_id,item_id,rank\na,2,9\n7,3,1\na,1,2\n",
    "wide.csv": "user,items\na,1 2\n7,3\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_a_ranking_may_have_three_forms(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FORMS[name])
    assert read_ranking(tmp_path / name, report=Silent()) == {"a": ["1", "2"], "7": ["3"]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.jsonl", '{"user": "a", "items": "12"', r"r\.jsonl:1: not an object like"),
        ("r.jsonl", '{"user": "a"}', r"r\.jsonl:1: not an object like"),
        ("r.jsonl", '{"user": "a", "items": []}', r"user 'a' has no items"),
        ("r.jsonl", '{"user": "a", "items": ["1", "2", "1"]}', r"user 'a': item '1' is ranked twice"),
        ("r.jsonl", '{"user": "a", "items": ["1"]}\n' * 2, r"r\.jsonl:2: user 'a' is ranked twice"),
        ("r.jsonl", "", "there is no ranking in it"),
        ("r.csv", "user,item\na,1\n", r"r\.csv:1: no column rank"),
        ("r.csv", "user,item,rank\na,1,first\n", r"r\.csv:2: rank = 'first' is not a number"),
        ("r.csv", "user,item,rank\na,1,3\na,2,3\n", r"r\.csv:3: user 'a' has two items at rank 3"),
    ],
)
def test_a_malformed_ranking_is_named_by_file_and_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_ranking(tmp_path / name, report=Silent())


def write_ranking(path: Path, ranked: dict[str, list[str]]) -> Path:
    path.write_text("".join(json.dumps({"user": u, "items": i}) + "\n" for u, i in ranked.items()))
    return path


def perfect(split: PreparedSplit, *, length: int = 20) -> dict[str, list[str]]:
    """The test target first, then the next items by number."""
    requests = load_requests(split.folder, "test", exclude_seen=False)
    targets = load_targets(split.folder, "test")
    names = load_users(split.folder)
    return {
        names[int(user)]: [str((int(target) + place) % 100) for place in range(length)]
        for user, target in zip(requests.user, targets, strict=True)
    }


def bring(
    path: Path, split: PreparedSplit, runs: Path, protocol: EvalProtocol | None = None, **more: bool
) -> bundle.Bundle:
    rules = get_protocol("ilrec") if protocol is None else protocol
    return import_ranking(
        External(name="oracle", file=path), split, rules, runs=runs, report=Silent(), **more
    )


def test_an_imported_ranking_is_a_run_with_a_mark_and_without_cost(
    tmp_path: Path, make_split: MakeSplit
) -> None:
    split = make_split()
    ranked = perfect(split)
    second = next(iter(ranked))
    ranked[second] = ranked[second][1:]  # its target is nowhere
    run = bring(write_ranking(tmp_path / "r.jsonl", ranked), split, tmp_path / "runs")
    assert run.metrics["hr@1"] == run.metrics["ndcg@10"] == 599 / 600
    assert run.ranks[:2].tolist() == [0, 1]
    assert run.users.tolist() == list(load_users(split.folder))
    assert (run.label, run.spec.fit.method, run.seed) == ("oracle", "external:oracle", None)
    assert run.manifest["external"] is True
    assert dict(run.efficiency) == {}
    assert run.digests == split.digests
    assert run.topk()["items"][0, -1] == -1  # 19 items, padded
    assert bring(tmp_path / "r.jsonl", split, tmp_path / "runs").path == run.path


def test_another_ranking_of_the_same_name_needs_force(tmp_path: Path, make_split: MakeSplit) -> None:
    split = make_split()
    ranked = perfect(split)
    first = bring(write_ranking(tmp_path / "r.jsonl", ranked), split, tmp_path / "runs")
    write_ranking(tmp_path / "r.jsonl", {user: items[::-1] for user, items in ranked.items()})
    with pytest.raises(UsageError, match="is another ranking called 'oracle'"):
        bring(tmp_path / "r.jsonl", split, tmp_path / "runs")
    again = bring(tmp_path / "r.jsonl", split, tmp_path / "runs", force=True)
    assert again.id == first.id
    assert again.metrics["hr@1"] == 0


def test_unknown_and_missing_users_and_items_are_named_and_nothing_is_kept(
    tmp_path: Path, make_split: MakeSplit
) -> None:
    split, runs = make_split(), tmp_path / "runs"
    whole = perfect(split)
    less = dict(list(whole.items())[1:])
    for ranked, message in (
        ({**whole, "zoe": ["1"]}, "1 users are no users who are asked\n'zoe'"),
        (less, "1 users have no ranking, and everybody needs one\n'0'"),
        ({**whole, "0": ["1", "x"]}, "1 items are not in the catalogue\n'x'"),
    ):
        with pytest.raises(DataError, match=message) as refused:
            bring(write_ranking(tmp_path / "r.jsonl", ranked), split, runs)
        assert "recbench data export" in refused.value.mend
    assert not runs.exists()


@pytest.mark.parametrize("name", ["soft", "candidates"])
def test_a_ranking_that_the_protocol_forbids_is_refused(
    tmp_path: Path, make_split: MakeSplit, name: str
) -> None:
    split, rules = make_split(name), get_protocol(name)
    requests = load_requests(split.folder, "test", exclude_seen=True)
    users = [load_users(split.folder)[int(user)] for user in requests.user]
    allowed: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    for row in range(len(requests)):
        assert requests.excluded is not None
        unseen = np.setdiff1d(np.arange(100), requests.excluded[row])
        allowed.append(unseen[:20] if requests.allowed is None else requests.allowed[row])
    good = {user: [str(item) for item in items] for user, items in zip(users, allowed, strict=True)}
    run = bring(write_ranking(tmp_path / "good.jsonl", good), split, tmp_path / "runs", rules)
    assert len(run.ranks) == len(users)
    bad = {**good, users[0]: [str(requests.history[0][-1])]}
    with pytest.raises(CheckError) as refused:
        bring(write_ranking(tmp_path / "bad.jsonl", bad), split, tmp_path / "other", rules)
    assert isinstance(refused.value, RecbenchError)
    assert "row 0 of the ranking ranks an item" in str(refused.value)


def test_seeds_of_an_external_method_are_runs_of_one_method(tmp_path: Path, make_split: MakeSplit) -> None:
    from recbench.compare import method_key

    split = make_split()
    path = write_ranking(tmp_path / "r.jsonl", perfect(split))
    runs = [
        import_ranking(
            replace(External(name="oracle", file=path), seed=seed),
            split,
            get_protocol("ilrec"),
            runs=tmp_path / "runs",
            report=Silent(),
        )
        for seed in (0, 1)
    ]
    assert runs[0].id != runs[1].id
    assert method_key(runs[0]) == method_key(runs[1])
