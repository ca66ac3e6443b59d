"""A method that forges its result in its worker: the sealed numbers are those of its lists all the same."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recbench.board import build
from recbench.comparison.compare import compare
from recbench.results.bundle import Bundle, load
from tests.e2e.conftest import Listening

if TYPE_CHECKING:
    from tests.conftest import World

DEPTH, USERS, ITEMS = 20, 120, 60


def true_ranks() -> list[int]:
    """The target of user u is item (7 u + 3) mod 60, and everybody's list is 0, 1, ..., 19."""
    targets = (7 * np.arange(USERS) + 3) % ITEMS
    return sorted(np.where(targets < DEPTH, targets + 1, 0).tolist())


def check_true(run: Bundle) -> None:
    run = load(run.path)  # every file has the digest that was sealed
    assert run.status == "complete"
    assert sorted(run.ranks.tolist()) == true_ranks()
    gains = [1 / np.log2(1.0 + rank) for rank in true_ranks() if 0 < rank <= 10]
    assert run.metrics["ndcg@10"] == pytest.approx(sum(gains) / USERS)
    assert run.metrics["hr@20"] == pytest.approx(1 / 3)
    assert set(run.files) <= {
        *("context.npz", "efficiency.json", "log.txt", "metrics.json"),
        *("ranks.npz", "top10.npz", "topk.npz", "train.jsonl"),
    }


def test_a_worker_that_patches_the_evaluator_and_numpy_changes_no_number(hostile: World) -> None:
    (alone,) = hostile.run("popularity")
    forger, beside = hostile.run("forger:way=evaluator", "popularity", force=True)
    check_true(forger)
    assert beside.metrics == alone.metrics
    assert beside.ranks.tolist() == alone.ranks.tolist()
    assert beside.topk()["items"].tolist() == alone.topk()["items"].tolist()


@pytest.mark.slow
def test_the_honest_method_beside_each_hostile_one_has_the_numbers_that_it_has_alone(hostile: World) -> None:
    (alone,) = hostile.run("noise", seed=1)
    targets = hostile.plan("noise")[0].split.folder / "targets_test.npz"
    thefts = [f"thief:way={way},path={targets}" for way in ("open", "arrow", "child", "link", "rename")]
    forgeries = [f"forger:way={way}" for way in ("certificates", "floats", "duplicates", "wide")]
    runs = hostile.run(*thefts, *forgeries, "noise", seed=1, force=True)
    beside = next(run for run in runs if run.spec.fit.method == "noise")
    assert len(runs) == 10
    assert beside.manifest.guard is not None
    assert beside.manifest.guard.marks == ()
    assert beside.metrics == alone.metrics
    assert beside.ranks.tolist() == alone.ranks.tolist()
    assert beside.topk()["items"].tolist() == alone.topk()["items"].tolist()


def test_a_process_that_outlives_its_worker_changes_nothing(hostile: World) -> None:
    forger, beside = hostile.run("forger:way=late", "popularity")
    (hostile.root.runs / "over").touch()
    check_true(forger)
    assert load(beside.path).metrics == beside.metrics
    assert forger.manifest.guard is not None
    assert forger.manifest.guard.marks == ("start of a copy of itself by the method",)


def test_certificates_of_a_worker_that_checks_nothing_are_left_out(hostile: World) -> None:
    (forger,) = hostile.run("forger:way=certificates")
    check_true(forger)
    assert forger.manifest.certified_share is None
    assert set(forger.topk()) == {"items"}


@pytest.mark.parametrize(
    ("way", "what"),
    [
        ("floats", "the items of the ranking are float64"),
        ("duplicates", "row 0 of the ranking ranks an item twice"),
        ("wide", f"ranking has shape ({USERS}, {ITEMS}), expected ({USERS}, {DEPTH})"),
        ("bomb", "the worker left no ranking"),
        ("link", "the worker left no ranking"),
        ("note", "the worker left no ranking"),
    ],
)
def test_what_is_no_ranking_fails_as_the_methods_fault(hostile: World, way: str, what: str) -> None:
    (honest,) = hostile.run("popularity")
    (forger,) = hostile.run(f"forger:way={way},path={honest.path / 'topk.npz'}")
    assert forger.status == "failed"
    assert forger.reason is not None
    assert forger.reason["class"] == "method"
    assert forger.reason["what"] == f"method 'forger' of hostile-methods 1.0: {what}"
    assert load(honest.path).metrics == honest.metrics


@pytest.mark.parametrize(
    ("way", "what", "why"),
    [
        ("die", "not me", ""),
        ("facts", "facts.json has no facts", "nan in the place of a number"),
        ("parents", "fit.json is not the record of a fit", "no proper name for a parent"),
        ("other-parent", "the record of the fit names other parents than its own", "they are none"),
        ("counts", "fit.json is not the record of a fit", "'many' in the place of a number"),
    ],
)
def test_a_fit_that_records_what_is_not_so_fails_alone_as_the_methods_fault(
    hostile: World, way: str, what: str, why: str
) -> None:
    forger, beside = hostile.run(f"forger:way={way}", "popularity")
    assert (forger.status, beside.status) == ("failed", "complete")
    assert forger.reason is not None
    assert forger.reason["class"] == "method"
    assert forger.reason["what"].startswith("method 'forger' of hostile-methods 1.0: ")
    assert what in forger.reason["what"]
    assert why in forger.reason.get("why", "")


def test_what_a_method_says_in_the_place_of_its_worker_ends_nothing_and_adds_no_guard(hostile: World) -> None:
    (forger,) = hostile.run("forger:way=say")
    check_true(forger)
    assert forger.manifest.guard is not None
    assert forger.manifest.guard.by == "none"  # a method that tells of a guard of its own has none
    assert max(map(len, forger.manifest.guard.seen)) == 300


def test_a_method_that_sends_many_long_messages_has_a_few_lines_under_its_own_name(hostile: World) -> None:
    listener = Listening()
    (forger,) = hostile.run("forger:way=say", listener=listener)
    running, *messages = listener.said
    assert running.endswith(": running")
    assert len(messages) == 20
    own = f"{forger.id}  forger[way=say] on toy seed 0: "
    for number, message in enumerate(messages):
        assert message.startswith(f"{own}{number} 0a1b2c3d4e5f popularity on toy: failed xxx")
        assert len(message) == len(own) + 300


def test_the_driver_copies_nothing_from_behind_a_link(hostile: World) -> None:
    path = hostile.plan("popularity")[0].split.folder / "targets_test.npz"
    before = path.read_bytes()
    (forger,) = hostile.run(f"forger:way=log,path={path}")
    check_true(forger)
    assert "log.txt" not in forger.files or before not in (forger.path / "log.txt").read_bytes()
    assert path.read_bytes() == before


def test_a_process_that_had_imported_a_plugin_says_so_in_what_it_scored(hostile: World) -> None:
    (clean,) = hostile.run("popularity")
    assert clean.manifest.guard is not None
    assert clean.manifest.guard.marks == ()
    importlib.import_module("toy_methods.base")  # as the cell of a notebook
    (run,) = hostile.run("popularity", force=True)
    assert run.manifest.guard is not None
    assert run.manifest.guard.marks == ("scored in a process that had imported toy_methods",)
    assert run.metrics == clean.metrics


def test_a_method_whose_seeds_are_all_alike_has_one_on_boards_and_in_comparisons(hostile: World) -> None:
    runs = [hostile.run("forger:way=certificates", seed=seed)[0] for seed in (0, 1)]
    (honest,) = hostile.run("popularity")
    assert runs[0].ranks.tolist() == runs[1].ranks.tolist()
    assert runs[0].manifest.spec.fit.id != runs[1].manifest.spec.fit.id
    (table,) = build.build([*runs, honest]).tables
    assert {row.label.partition("[")[0]: list(row.seeds) for row in table.rows} == {
        "forger": [0],
        "popularity": [None],
    }
    found = compare(runs, [honest], "ndcg@10")
    assert (found.seeds_a, found.scope) == ((0,), "these checkpoints only")
