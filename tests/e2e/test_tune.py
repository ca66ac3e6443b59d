"""`recbench tune` on a small dataset: equal trials, a ledger, and a command for what was found."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from recbench.results import bundle
from recbench_methods.itemknn import ItemKNN

if TYPE_CHECKING:
    from tests.conftest import World


def tuned(world: World, *words: str) -> tuple[int, dict[str, Any]]:
    done = world.recbench("tune", "-d", "toy", *words, "--json")
    return done.returncode, json.loads(done.stdout)


def test_the_best_trial_is_found_and_a_failed_one_stops_no_other(world: World) -> None:
    code, found = tuned(world, "-m", "graded", "--trials", "4")  # shares 0.5 (the default), 0, 1, 2
    assert code == 1
    (one,) = found["tuned"]
    by_share = {trial["spec"]["fit"]["params"]["share"]: trial for trial in one["trials"]}
    assert set(by_share) == {0.0, 0.5, 1.0, 2.0}
    failed = by_share.pop(2.0)
    assert (failed["status"], failed["class"], failed["ndcg@10"]) == ("failed", "method", None)
    assert failed["message"] == "method 'graded' of toy-methods 1.0: RuntimeError: a share is at most 1"
    scores = [by_share[share]["ndcg@10"] for share in sorted(by_share)]
    assert scores == sorted(set(scores))
    assert one["best"] == by_share[1.0]["run"]
    assert found["commands"] == ["recbench run -m graded:share=1.0 -d toy"]
    for trial in one["trials"]:
        made = bundle.load(world.root.runs / trial["run"])
        assert made.spec.phase == "valid"
        assert trial["ndcg@10"] == made.metrics.get("ndcg@10")
    assert by_share[0.5]["trial"] == 0
    assert by_share[1.0]["trained_tokens"] > 0
    with open(one["ledger"]) as stream:
        assert [json.loads(line) for line in stream] == one["trials"]
    done = world.recbench(*shlex.split(found["commands"][0])[1:], "--dry-run", "--json")
    (planned,) = json.loads(done.stdout)
    assert planned["fit_id"] == by_share[1.0]["spec"]["fit_id"]  # trained once for both
    assert planned["phase"] == "test"


def test_repeating_reuses_finished_trials_and_more_of_them_continue(world: World) -> None:
    _, first = tuned(world, "-m", "graded", "--trials", "2")
    stamps = {folder.name: folder.stat().st_mtime_ns for folder in bundle.find(world.root.runs)}
    _, second = tuned(world, "-m", "graded", "--trials", "3")
    assert second["tuned"][0]["trials"][:2] == first["tuned"][0]["trials"]
    now = {folder.name: folder.stat().st_mtime_ns for folder in bundle.find(world.root.runs)}
    assert len(now) == 3
    assert {name: now[name] for name in stamps} == stamps
    tuned(world, "-m", "graded", "--trials", "1")
    ledger = world.root.path / "tuning"
    (path,) = ledger.iterdir()
    assert len(path.read_text().splitlines()) == 3


def test_an_interrupted_command_keeps_what_it_has_finished(world: World) -> None:
    words = world.command("tune", "-m", "graded", "-m", "slow", "-d", "toy", "--trials", "1")
    command = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert command.stderr is not None
    for line in command.stderr:
        if "slow on toy seed 0: running" in line:
            command.send_signal(signal.SIGINT)
    assert command.wait() == 130
    (path,) = (world.root.path / "tuning").iterdir()
    (one,) = map(json.loads, path.read_text().splitlines())
    assert (one["method"], one["status"]) == ("graded", "complete")


def test_every_method_gets_the_same_number_of_trials_or_nothing_runs(world: World) -> None:
    done = world.recbench("tune", "-m", "itemknn", "-m", "graded", "-d", "toy", "--trials", "5")
    assert done.returncode == 2
    assert "the space of 'graded' has 4 points, fewer than 5 trials" in done.stderr
    assert "try: --trials 4" in done.stderr
    assert bundle.find(world.root.runs) == []
    done = world.recbench("tune", "-m", "itemknn", "-m", "graded", "-d", "toy", "--trials", "1")
    assert "ledger: " in done.stdout
    assert done.stdout.count("<-") == 2
    assert done.stdout.count("-m ") == 2


def test_a_space_that_names_no_parameter_of_its_method_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ItemKNN, "space", {"neighbors": (1, 2)})
    done = world.recbench("tune", "-m", "itemknn", "-d", "toy", "--trials", "2")
    assert done.returncode == 2
    assert "no parameter of itemknn 'neighbors'; did you mean 'neighbours'?" in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-m", "counts", "--trials", "2"), "there is nothing to tune in 'counts'"),
        (("-m", "graded", "--trials", "2", "--set", "train.lr=1"), "no selected method uses train.lr"),
        (("-m", "gradde", "--trials", "2"), "did you mean 'graded'?"),
        (("-m", "graded"), "Missing option '--trials'"),
    ],
)
def test_bad_requests_say_why(world: World, words: tuple[str, ...], text: str) -> None:
    done = world.recbench("tune", "-d", "toy", *words)
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.slow
def test_a_language_model_is_tuned_beside_its_parent(world: World) -> None:
    """The parent runs too, on validation items, and is no trial; its training is not varied."""
    small = ["train.epochs=0.2", "identifiers.codes=8", "identifiers.levels=2", "train.max_rows=32"]
    words = [word for setting in small for word in ("--set", setting)]
    code, found = tuned(world, "-m", "dpo", "--trials", "2", "--limit-users", "20", *words)
    assert code == 0
    (one,) = found["tuned"]
    first, second = one["trials"]
    assert first["values"] == {}
    assert set(second["values"]) == {"beta", "train.lr"}
    assert first["spec"]["fit"]["parent"] == second["spec"]["fit"]["parent"]
    assert len(bundle.find(world.root.runs)) == 3
    assert found["commands"][0].endswith(shlex.join(["-d", "toy", *words]))
