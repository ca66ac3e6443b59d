"""What comes back as a ranking of the users who ask."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.base.progress import Silent
from recbench.comparison import compare
from recbench.data import Ragged, Requests
from recbench.dataset.export import export
from recbench.dataset.split import PreparedSplit, load_requests, load_targets, load_users
from recbench.errors import CheckError, DataError, DigestError, UsageError
from recbench.exchange.import_ranking import External, import_ranking, short_lists
from recbench.exchange.ranking_file import read_ranking
from recbench.protocol import EvalProtocol, get_protocol
from recbench.results import bundle
from recbench.results.manifest import ImportedRanking
from tests.unit.conftest import MakeSplit

FORMS = {
    "r.jsonl": '{"user": "a", "items": ["1", 2]}\n\n{"user_id": 7, "items": ["3"]}\n',
    "long.csv": "user_id,item_id,rank\na,2,9\n7,3,1\na,1,2\n",
    "wide.CSV": "user,items\na,1 2\n7,3\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_a_ranking_may_have_three_forms(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FORMS[name])
    assert read_ranking(tmp_path / name, report=Silent()) == {"a": ["1", "2"], "7": ["3"]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.jsonl", '{"user": "a", "items": "12"', r"r\.jsonl:1: not an object like"),
        ("r.jsonl", "[" * 100_000, r"r\.jsonl:1: not an object like"),
        ("r.jsonl", '{"user": "a"}', r"r\.jsonl:1: not an object like"),
        ("r.jsonl", '"user items"', r"r\.jsonl:1: not an object like"),
        ("r.jsonl", '{"user": "a", "items": "312"}', r'r\.jsonl:1: items = "312" is not a list'),
        ("r.jsonl", '{"user": "a", "items": {"3": 1}}', r"r\.jsonl:1: items = .* is not a list"),
        ("r.jsonl", '{"user": "a", "items": ["1", true]}', r"r\.jsonl:1: true is not an id"),
        ("r.jsonl", '{"user": "a", "items": [null]}', r"r\.jsonl:1: null is not an id"),
        ("r.jsonl", '{"user": "a", "items": [12.0]}', r"r\.jsonl:1: 12\.0 is not an id"),
        ("r.jsonl", '{"user": null, "items": ["1"]}', r"r\.jsonl:1: null is not an id"),
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


@pytest.mark.parametrize("name", ["r.tsv", "r", "r.csv.txt"])
def test_another_kind_of_file_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("user\titems\na\t1 2\n")
    with pytest.raises(UsageError, match="is no ranking by its name") as refused:
        read_ranking(tmp_path / name, report=Silent())
    for kind in (".jsonl", ".json", ".csv", "user,item,rank"):
        assert kind in refused.value.why


def test_a_ranking_may_be_compressed(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "r.csv.gz", "wt") as stream:
        stream.write("user,items\na,1 2\n")
    assert read_ranking(tmp_path / "r.csv.gz", report=Silent()) == {"a": ["1", "2"]}


def test_a_ranking_of_the_whole_catalogue_is_read_in_one_pass(tmp_path: Path) -> None:
    """100,000 items; comparing each with those before it would take 5e9 steps, which is minutes."""
    items = [str(item) for item in range(100_000)]
    ranked = read_ranking(write_ranking(tmp_path / "r.jsonl", {"a": items}), report=Silent())
    assert ranked == {"a": items}


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
    path: Path, split: PreparedSplit, runs: Path, protocol: EvalProtocol | None = None, **more: Any
) -> bundle.Bundle:
    rules = get_protocol("ilrec") if protocol is None else protocol
    one = External(name="oracle", file=path, split=more.pop("made_for", None), seed=more.pop("seed", 0))
    return import_ranking(one, split, rules, runs=runs, report=Silent(), **more)


def ranking_of(run: bundle.Bundle) -> ImportedRanking:
    assert run.manifest.ranking is not None
    return run.manifest.ranking


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
    assert (run.label, run.spec.fit.method, run.seed) == ("oracle", "external:oracle", 0)
    assert run.manifest.external
    assert dict(run.efficiency) == {}
    assert run.digests == split.digests
    assert run.topk()["items"][0, -1] == -1  # 19 items, padded
    assert bring(tmp_path / "r.jsonl", split, tmp_path / "runs").path == run.path


def test_lists_that_end_early_are_noted(tmp_path: Path, make_split: MakeSplit) -> None:
    """Ten items, the target always the eleventh: no hit at 20, though the method may well know it."""
    split = make_split()
    ranked = {user: items[1:11] for user, items in perfect(split, length=11).items()}
    ranked["7"] = ranked["7"][:4]
    run = bring(write_ranking(tmp_path / "r.jsonl", ranked), split, tmp_path / "runs")
    assert run.metrics["hr@20"] == run.metrics["hr@10"] == 0
    assert ranking_of(run).notes[1:] == [
        "600 of 600 users have fewer than 20 items, the fewest 4: "
        "HR and the like beyond @4 count the rest as misses"
    ]


def test_a_list_is_short_only_of_what_its_user_may_be_given() -> None:
    items = np.array([[0, 1, -1], [0, -1, -1], [2, 1, 0]])
    asked = Requests(user=np.arange(3), history=Ragged.of([[0]] * 3))
    masked = replace(asked, excluded=Ragged.of([[2, 3], [2, 3], [3]]))
    listed = replace(asked, allowed=Ragged.of([[0, 1], [0], [0, 1, 2]]))
    assert short_lists(items, asked, num_items=4)[0].startswith("2 of 3 users have fewer than 3 items")
    assert short_lists(items, masked, num_items=4)[0].startswith("1 of 3 users")  # of 2, 2 and 3 items
    assert short_lists(items, listed, num_items=4) == []
    assert short_lists(items[:, :1], asked, num_items=4) == []


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
        assert "recbench data export" in refused.value.fix
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
    bad = {**good, **{users[row]: [str(requests.history[row][-1])] for row in (5, 7)}}
    with pytest.raises(CheckError) as refused:
        bring(write_ranking(tmp_path / "bad.jsonl", bad), split, tmp_path / "other", rules)
    assert f"bad.jsonl: user '{users[5]}' ranks an item" in refused.value.what
    assert refused.value.why == "so do 2 rows in all"
    assert f"recbench data export --protocol {name}" in refused.value.fix


def test_seeds_of_an_external_method_are_runs_of_one_method(tmp_path: Path, make_split: MakeSplit) -> None:
    split = make_split()
    path = write_ranking(tmp_path / "r.jsonl", perfect(split))
    runs = [bring(path, split, tmp_path / "runs", seed=seed) for seed in (0, 1)]
    assert runs[0].id != runs[1].id
    assert runs[0].spec.method_key == runs[1].spec.method_key


def test_one_ranking_is_one_checkpoint_unless_its_method_is_said_to_have_no_chance(
    tmp_path: Path, make_split: MakeSplit
) -> None:
    split = make_split()
    path = write_ranking(tmp_path / "r.jsonl", perfect(split))
    checkpoint = bring(path, split, tmp_path / "runs")
    certain = bring(path, split, tmp_path / "runs", seed=None)
    assert (checkpoint.seed, certain.seed) == (0, None)
    assert compare.scope((checkpoint.seed,), (certain.seed,)) == "these checkpoints only"
    assert compare.scope((certain.seed,), (certain.seed,)) == "methods"


def test_a_ranking_of_another_split_is_refused_by_the_record_of_its_export(
    tmp_path: Path, make_split: MakeSplit
) -> None:
    """It names the users and items of this split, and under other candidates it would be the best of all."""
    asked, other = make_split("ilrec"), make_split("candidates")
    for form in ("jsonl", "atomic"):
        export(other, tmp_path / form, form=form, protocol=get_protocol("candidates"))
        beside = write_ranking(tmp_path / form / "r.jsonl", perfect(asked))
        with pytest.raises(DigestError) as refused:
            bring(beside, asked, tmp_path / "runs")
        assert "is a ranking of another split of 'synthetic'" in refused.value.what
        assert other.digests["split"] in refused.value.why
        assert asked.digests["split"] in refused.value.why
        assert refused.value.fix.endswith("-d synthetic --protocol candidates --seed 0")
    elsewhere = write_ranking(tmp_path / "r.jsonl", perfect(asked))
    with pytest.raises(DigestError, match="another split"):
        bring(elsewhere, asked, tmp_path / "runs", made_for=tmp_path / "jsonl" / "split.json")
    assert not (tmp_path / "runs").exists()


def test_a_ranking_of_other_data_is_refused_by_its_log(tmp_path: Path, make_split: MakeSplit) -> None:
    split = make_split()
    record = {
        "dataset": "theirs",
        "protocol": "ilrec",
        "digests": {"log": "aa", "split": split.digests["split"]},
    }
    (tmp_path / "split.json").write_text(json.dumps(record))
    with pytest.raises(DigestError, match="another log of 'theirs'") as refused:
        bring(write_ranking(tmp_path / "r.jsonl", perfect(split)), split, tmp_path / "runs")
    assert refused.value.fix.endswith("--name oracle -d theirs --protocol ilrec --seed 0")


def test_a_record_without_its_protocol_counts_by_its_digests(tmp_path: Path, make_split: MakeSplit) -> None:
    split = make_split()
    (tmp_path / "split.json").write_text(json.dumps({"dataset": "synthetic", "digests": split.digests}))
    known = bring(write_ranking(tmp_path / "r.jsonl", perfect(split)), split, tmp_path / "runs")
    assert ranking_of(known).split == split.digests["split"]


@pytest.mark.parametrize("text", ["{", "[]", '{"digests": {}}'])
def test_a_record_that_no_export_wrote_is_refused(tmp_path: Path, make_split: MakeSplit, text: str) -> None:
    split = make_split()
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match=r"split\.json is not the split\.json of an export"):
        bring(write_ranking(tmp_path / "r.jsonl", perfect(split)), split, tmp_path / "runs")


def test_a_ranking_without_a_record_counts_with_a_note_until_it_has_one(
    tmp_path: Path, make_split: MakeSplit
) -> None:
    split = make_split()
    export(split, tmp_path / "out", form="jsonl", protocol=get_protocol("ilrec"))
    path = write_ranking(tmp_path / "r.jsonl", perfect(split))
    unknown = bring(path, split, tmp_path / "runs")
    assert ranking_of(unknown).split is None
    assert ranking_of(unknown).notes == ["no split.json shows that the ranking was made for this split"]
    for made_for in (tmp_path / "out" / "split.json", None):  # what is known once stays known
        known = bring(path, split, tmp_path / "runs", made_for=made_for)
        assert known.id == unknown.id
        assert ranking_of(known).split == split.digests["split"]
        assert ranking_of(known).notes == []
