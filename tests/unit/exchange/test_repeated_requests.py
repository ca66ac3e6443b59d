"""What leaves and comes back where a user asks repeatedly: each request has its number."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.base.progress import Silent
from recbench.comparison.compare import compare
from recbench.dataset.export import export
from recbench.dataset.split import PreparedSplit, load_targets
from recbench.errors import DataError, DigestError
from recbench.exchange.import_ranking import External, import_ranking
from recbench.exchange.mlflow_values import tags
from recbench.exchange.per_user_comparison import compare_files
from recbench.exchange.per_user_file import read, write
from recbench.exchange.ranking_file import read_ranking
from recbench.protocol import REPEATED, get_protocol
from recbench.results.bundle import Bundle
from tests.unit.conftest import MakeBundle, MakeSplit

TIME_ROWS = get_protocol("time-rows")


def runs(make_bundle: MakeBundle, method: str) -> list[Bundle]:
    rng = np.random.default_rng(len(method))
    users = [f"u{user}" for user in np.repeat(np.arange(30), np.arange(30) % 4 + 1)]
    protocol = {"name": "time-rows", "asks": "repeatedly"}
    return [
        make_bundle(
            method, rng.integers(0, 9, len(users)).tolist(), seed=seed, users=users, protocol=protocol
        )
        for seed in range(2)
    ]


def test_a_file_numbers_the_requests_and_gives_the_comparison_of_the_runs(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    a, b = (runs(make_bundle, method) for method in ("ilrec", "sasrec"))
    for name, side in (("a", a), ("b", b)):
        write(tmp_path / f"{name}.csv", side, [10])
    with (tmp_path / "a.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["user"], row["request"]) for row in rows[:6]] == [
        ("u0", "1"),
        ("u1", "1"),
        ("u1", "2"),
        ("u2", "1"),
        ("u2", "2"),
        ("u2", "3"),
    ]
    [found] = compare_files(
        [read(tmp_path / f"{name}.csv", "ndcg@10") for name in "ab"], "ndcg@10"
    ).comparisons
    expected = compare(a, b, "ndcg@10")
    assert (found.difference, found.low, found.p) == pytest.approx(
        (expected.difference, expected.low, expected.p)
    )
    assert (found.num_users, found.num_requests, found.estimand) == (30, 73, REPEATED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,hr@1\na,1\na,0\n", "line 3: user 'a' is twice in it"),
        ("user,request,hr@1\na,1,1\na,1,0\n", "user 'a' is twice in it with one request"),
        ("user,request,hr@1\na,0,1\n", "request '0' is no number of a user's request"),
        ("user,request,hr@1\na,x,1\n", "request 'x' is no number of a user's request"),
        ("user,request,hr@1\na,2,1\na #2,1,1\n", "user 'a #2' is twice in it"),
    ],
)
def test_a_file_that_leaves_a_request_unclear_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.csv", "hr@1")


def test_files_need_two_users_in_common_however_often_one_asks(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("user,request,hr@1\nu,1,1\nu,2,0\nu,3,1\n")
    with pytest.raises(DigestError, match="have 1 users in common"):
        compare_files([read(tmp_path / f"{name}.csv", "hr@1") for name in "ab"], "hr@1")


def exported(split: PreparedSplit, folder: Path) -> list[dict[str, Any]]:
    export(split, folder, form="jsonl", protocol=TIME_ROWS)
    return [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]


def test_an_export_numbers_requests_and_its_ranking_comes_back(tmp_path: Path, make_split: MakeSplit) -> None:
    split = make_split("time-rows")
    asked = exported(split, tmp_path / "out")
    assert max(one["request"] for one in asked) > 2
    record = json.loads((tmp_path / "out" / "split.json").read_text())
    assert record["estimand"] == REPEATED
    assert '"request": 2' in record["ranking"]["form"]
    targets = load_targets(split.folder, "test").tolist()
    rows = [
        {"user": one["user"], "request": one["request"], "items": [str((t + k) % 100) for k in range(50)]}
        for one, t in zip(asked, targets, strict=True)
    ]
    rows[3]["items"] = rows[3]["items"][1:]  # its target is nowhere
    path = tmp_path / "out" / "ranking.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    one = External(name="oracle", file=path)
    run = import_ranking(one, split, TIME_ROWS, runs=tmp_path / "runs", report=Silent())
    assert run.metrics["hr@1"] == run.metrics["ndcg@50"] == (len(rows) - 1) / len(rows)
    assert np.flatnonzero(run.ranks == 0).tolist() == [3]
    assert tags(run)["recbench.estimand"] == REPEATED
    for row in rows:
        del row["request"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="is ranked twice"):
        read_ranking(path, report=Silent())
    path.write_text("".join(json.dumps(row) + "\n" for row in {row["user"]: row for row in rows}.values()))
    with pytest.raises(DataError, match=r"users have no ranking, and everybody needs one\n'.* #2'"):
        import_ranking(one, split, TIME_ROWS, runs=tmp_path / "other", report=Silent())


def test_a_csv_file_may_number_requests_in_both_forms(tmp_path: Path) -> None:
    expected = {"a": ["1", "2"], "a #2": ["3"]}
    (tmp_path / "wide.csv").write_text("user,request,items\na,1,1 2\na,2,3\n")
    (tmp_path / "long.csv").write_text("user,request,item,rank\na,2,3,1\na,1,2,2\na,1,1,1\n")
    for name in ("wide.csv", "long.csv"):
        assert read_ranking(tmp_path / name, report=Silent()) == expected
    (tmp_path / "bad.csv").write_text("user,request,items\na,0,1 2\n")
    with pytest.raises(DataError, match="request = 0 is no number of a user's request"):
        read_ranking(tmp_path / "bad.csv", report=Silent())


def test_the_other_form_of_an_export_numbers_them_too(tmp_path: Path, make_split: MakeSplit) -> None:
    export(make_split("time-rows"), tmp_path / "out", form="atomic", protocol=TIME_ROWS)
    head, first = (tmp_path / "out" / "synthetic.test.inter").read_text().splitlines()[:2]
    assert head.split("\t") == ["user_id:token", "item_id_list:token_seq", "request:float"]
    assert first.split("\t")[2] == "1"
    assert len(first.split("\t")[1].split()) <= TIME_ROWS.history
