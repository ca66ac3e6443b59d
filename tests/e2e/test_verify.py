"""`recbench verify` names what was changed in a finished run or a board, though the seals were made again."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recbench.base import digest
from recbench.base.layout import fit_folder
from recbench.dataset import split
from recbench.results import bundle, top_lists
from recbench.results.bundle import Bundle
from recbench.results.metrics import summary

if TYPE_CHECKING:
    from tests.conftest import World

Edit = Callable[[Path], None]


def reseal(run: Bundle, edit: Edit, **manifest: Any) -> None:
    """Change the files of a run and make its seals again, as whoever wants to be believed would."""
    staging = run.path.with_name(f".{run.path.name}.partial")
    shutil.copytree(run.path, staging, ignore=shutil.ignore_patterns("manifest.json", "COMPLETE"))
    edit(staging)
    bundle.finish(staging, replace(run.manifest, **manifest), status="complete")


def arrays(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Edit:
    def edit(folder: Path) -> None:
        old = bundle.read_arrays(folder / name)
        bundle.write_arrays(folder / name, **old | change(old))

    return edit


def with_ranks_one(folder: Path) -> None:
    """Every target first, with the metrics that this gives."""
    arrays("ranks.npz", lambda old: {"ranks": np.ones_like(old["ranks"])})(folder)
    values = json.loads((folder / "metrics.json").read_text())
    cutoffs = sorted({int(name.partition("@")[2]) for name in values})
    ones = np.ones(120, dtype=np.int32)
    bundle.write_json(folder / "metrics.json", values | summary(ones, cutoffs))


def with_one_metric(folder: Path) -> None:
    values = json.loads((folder / "metrics.json").read_text())
    bundle.write_json(folder / "metrics.json", values | {"ndcg@10": 1.0})


def swapped(old: Mapping[str, Any]) -> dict[str, Any]:
    """The first two items of the first list change places."""
    items = old["items"].copy()
    items[0, [0, 1]] = items[0, [1, 0]]
    return {"items": items}


def with_last_first(folder: Path) -> None:
    arrays("topk.npz", lambda old: {"items": np.vstack([old["items"][:1, ::-1], old["items"][1:]])})(folder)


def with_other_lists(folder: Path) -> None:
    arrays("topk.npz", swapped)(folder)
    arrays("top10.npz", swapped)(folder)


def first_wrong(world: World, *words: str) -> list[str]:
    done = world.recbench("verify", *words, "--json")
    assert done.returncode == 5, done.stdout
    verdicts = json.loads(done.stdout)
    return [line for verdict in verdicts for line in verdict["wrong"]]


def test_an_honest_run_is_as_it_records(world: World) -> None:
    (one,) = world.run("noise")
    done = world.recbench("verify", one.id, "--json")
    assert done.returncode == 0, done.stderr
    (verdict,) = json.loads(done.stdout)
    assert verdict["sound"]
    assert verdict["unchecked"] == []
    assert verdict["checked"] == [
        "seals",
        "metrics from ranks",
        "targets from the raw files",
        "ranks from the first 20 of the lists",
        "120 users ranked again",
    ]


CHANGES: Mapping[str, Edit] = {
    "ranks: ": with_ranks_one,
    "metric ndcg@10: recorded is 1.0": with_one_metric,
    "lists: top10.npz has other items": arrays("top10.npz", swapped),
    "ranking: the list of user '0' is not what the weights give; so are 1 of 120": with_other_lists,
    "context.npz: ": arrays("context.npz", lambda old: {"history_length": old["history_length"] + 1}),
    "certificate: ": arrays("topk.npz", lambda _: {"certified": np.ones(120, dtype=bool)}),
}


def test_a_change_is_named_though_the_seals_are_made_again(world: World, tmp_path: Path) -> None:
    (one,) = world.run("noise")
    shutil.copytree(one.path, tmp_path / "honest")
    for named, edit in CHANGES.items():
        reseal(one, edit)
        assert bundle.load(one.path).id == one.id  # the seals hold
        wrong = first_wrong(world, one.id, "--users", "1" if named.startswith("ranking") else "0")
        assert any(line.startswith(named) for line in wrong), wrong
        shutil.rmtree(one.path)
        shutil.copytree(tmp_path / "honest", one.path)


def test_a_changed_file_without_a_new_seal_is_named(world: World) -> None:
    (one,) = world.run("noise")
    with_one_metric(one.path)
    (wrong,) = first_wrong(world, one.id)
    assert wrong.startswith(f"seal: {one.path / 'metrics.json'} has changed")


@pytest.mark.slow
def test_the_certificates_of_a_language_model_are_compared_with_scores_of_all_items(world: World) -> None:
    (sft,) = world.run("sft", settings={"train.epochs": "1"})
    assert sft.manifest.certified_share == 1.0
    done = world.recbench("verify", sft.id, "--users", "120", "--json")
    assert done.returncode == 0, done.stderr
    assert "120 certificates against scores of all items" in json.loads(done.stdout)[0]["checked"]
    reseal(sft, with_last_first)
    wrong = first_wrong(world, sft.id, "--users", "120")
    for what in ("ranking", "certificate"):
        said = f"{what}: the list of user '0' is not what the weights give; so are 1 of 120 lists"
        assert said in wrong


def test_a_share_of_certificates_that_nothing_gives_is_named(world: World) -> None:
    (one,) = world.run("noise")
    reseal(one, lambda _: None, certified_share=1.0)
    wrong = first_wrong(world, one.id)
    assert wrong == ["certificate: recorded are 100.00% of the lists, marked are none"]


def test_a_target_digest_that_the_data_do_not_give_is_named(world: World) -> None:
    (one,) = world.run("noise")
    reseal(one, lambda _: None, digests={**one.digests, "split": "0" * 64})
    (wrong,) = first_wrong(world, one.id)
    assert wrong.startswith("digest split: recorded is 000000000000, the data give ")


def test_other_targets_in_the_cache_are_named_though_the_record_of_the_split_was_made_again(
    world: World,
) -> None:
    planned = world.plan("noise")[0]
    folder = planned.split.folder
    target = folder / split.TARGET_FILES["test"]
    bundle.write_arrays(target, target=np.zeros(120, dtype=np.int64))
    record = json.loads((folder / split.RECORD).read_text())
    record["files"][target.name] = digest.of_file(target)
    (folder / split.RECORD).write_text(json.dumps(record))
    (one,) = world.run("noise")
    assert one.status == "complete"
    wrong = first_wrong(world, one.id)
    assert wrong[0] == f"target digest: {target} is not what the raw files give"
    assert any(line.startswith("ranks: ") for line in wrong)


def test_what_is_not_here_is_said(world: World) -> None:
    (one,) = world.run("noise")
    shutil.rmtree(world.root.cache)
    shutil.rmtree(world.root.path / "raw")
    (verdict,) = json.loads(world.recbench("verify", one.id, "--json").stdout)
    assert verdict["sound"]
    assert verdict["checked"] == ["seals", "metrics from ranks"]
    assert verdict["unchecked"][0].startswith("ranks: the split is not here")


def test_a_changed_fit_is_named(world: World) -> None:
    (one,) = world.run("noise")
    file = fit_folder(world.root.cache, one.spec.fit.id) / "scores.npy"
    np.save(file, np.zeros(60))
    (wrong,) = first_wrong(world, one.id)
    assert wrong.startswith(f"fit: {file} has changed")


def test_a_run_whose_package_is_not_here_is_verified_by_all_that_needs_none_of_it(
    world: World, tmp_path: Path
) -> None:
    (one,) = world.run("noise")
    (info,) = (tmp_path / "site").glob("*.dist-info")
    shutil.rmtree(info)
    done = subprocess.run(world.command("verify", one.id), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "checked: ranks from the first 20 of the lists" in done.stdout
    assert (
        "not checked: certificate and scores: no ranking from the weights (no method 'noise'" in done.stdout
    )


@pytest.fixture
def board(world: World) -> Path:
    world.run("noise", "counts")
    assert world.recbench("leaderboard", "build", "mine").returncode == 0
    return world.root.path / "leaderboards" / "mine"


def test_a_board_without_its_runs_is_verified_by_its_first_ten_items_and_says_so(
    world: World, board: Path
) -> None:
    shutil.rmtree(world.root.runs)
    before = (board / "board.md").read_text()
    checked = world.recbench("leaderboard", "check", "mine")
    assert checked.returncode == 0
    assert "not checked: that the lists have the held-out items at these ranks" in checked.stderr
    done = world.recbench("verify", "mine", "--users", "0")
    assert done.returncode == 0, done.stderr
    assert "not checked: certificate and scores: --users 0 ranks nobody again" in done.stdout
    assert "not checked: ranks past 10" in done.stdout
    after = (board / "board.md").read_text()
    assert "Verified" not in before
    assert "checked: ranks from the first 10 of the lists (2 of 2 runs)" in after
    assert "Verified" in (board / "index.html").read_text()
    checked = world.recbench("leaderboard", "check", "mine")
    assert (checked.returncode, "the board says, as of its verification" in checked.stderr) == (0, True)


def test_a_board_of_changed_records_fails_and_loses_its_mark(world: World, board: Path) -> None:
    assert world.recbench("verify", "mine").returncode == 0
    runs = {run.label: run for run in map(bundle.load, bundle.find(world.root.runs))}
    reseal(runs["noise"], with_ranks_one)
    assert world.recbench("leaderboard", "build", "mine").returncode == 0
    assert "Verified" not in (board / "board.md").read_text()
    checked = world.recbench("leaderboard", "check", "mine")
    assert checked.returncode == 5  # the lists are there, and the item at the first place is no target
    assert "ranks: at rank 1 the list of user" in checked.stderr


def test_the_first_ten_are_stored_in_the_smallest_type(tmp_path: Path) -> None:
    items = np.array([[254, 3, -1], [0, -1, -1]])
    top_lists.write(tmp_path, items, 255)
    assert bundle.read_arrays(tmp_path / "top10.npz")["items"].dtype == np.uint8
    kept = top_lists.read(tmp_path)
    assert kept is not None
    assert np.array_equal(kept, items)
    top_lists.write(tmp_path, items, 256)
    assert bundle.read_arrays(tmp_path / "top10.npz")["items"].dtype == np.uint16


def test_a_replay_is_fitted_in_a_new_folder_and_compared(world: World) -> None:
    (one,) = world.run("noise")
    done = world.recbench("run", "--replay", one.id, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["num_requests"], found["num_other_ranks"]) == (120, 0)
    place = Path(found["folder"]).parent.parent
    assert place.parent == world.root.path / "replays"
    assert (fit_folder(place / "cache", one.spec.fit.id) / "scores.npy").exists()
    reseal(one, with_ranks_one)
    done = world.recbench("run", "--replay", one.id)
    assert done.returncode == 5
    assert f"ranks of {one.id} came out otherwise" in done.stderr
    (world.root.path / "jobs" / f"{one.id}.json").unlink()
    assert "nothing records how" in world.recbench("run", "--replay", one.id).stderr


def test_two_seeds_with_the_same_ranks_count_as_one_and_the_board_says_so(world: World) -> None:
    first, second = world.run("noise")[0], world.run("noise", seed=1)[0]
    for name in ("ranks.npz", "topk.npz", "top10.npz", "metrics.json"):
        shutil.copyfile(first.path / name, second.path / name)
    reseal(second, lambda _: None)
    assert world.recbench("leaderboard", "build", "mine").returncode == 0
    folder = world.root.path / "leaderboards" / "mine"
    board = json.loads((folder / "board.json").read_text())
    assert [row["seeds"] for row in board["tables"][0]["rows"]] == [[0]]
    said = "seed 1 has the same rank as seed 0 for every user, so both count as one"
    assert [run["why"] for run in board["excluded"]] == [said]
    assert said in (folder / "board.md").read_text()
