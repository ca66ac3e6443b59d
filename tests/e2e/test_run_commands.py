"""What `recbench run` and the commands on finished runs print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recbench.errors import UsageError
from recbench.running import execute
from tests.e2e.conftest import Listening

if TYPE_CHECKING:
    from tests.conftest import World


def test_run_prints_what_was_resolved_then_metrics_with_intervals(world: World) -> None:
    done = world.recbench("run", "-m", "speaker", "-m", "counts", "-d", "toy")
    assert done.returncode == 0, done.stderr
    assert "toy: 120 users, 60 items  (-d)" in done.stderr
    num_targets = world.plan("speaker")[0].split.statistics.training_targets
    assert f"2 epochs of {num_targets} targets" in done.stderr
    assert "(--set train.KEY=VALUE)" in done.stderr
    assert "%" not in done.stdout.partition("metrics with 95 % intervals")[2]  # its certificates count not
    assert "next: recbench compare counts speaker" in done.stdout


def test_json_alone_goes_to_stdout_and_a_failure_gives_exit_code_one(world: World) -> None:
    done = world.recbench("run", "-m", "broken", "-m", "counts", "-d", "toy", "--json")
    failed, finished = json.loads(done.stdout)
    assert done.returncode == 1
    assert (failed["status"], failed["reason"]["class"]) == ("failed", "method")
    low, mean, high = (finished["intervals"]["ndcg@10"][name] for name in ("low", "mean", "high"))
    assert low <= mean == finished["metrics"]["ndcg@10"] <= high


class InOrder(Listening):
    """Keeps stages among what was said."""

    def progress(self, stage: str, done: int, total: int) -> None:
        super().progress(stage, done, total)
        self.said.append(stage)


def test_what_semantic_ids_predict_is_told_once_and_before_training(world: World) -> None:
    settings = {"identifiers.codes": "8", "train.epochs": "1"}
    listener = InOrder()
    planned = [run for seed in (0, 1) for run in world.plan("sft", settings=settings, seed=seed)]
    first, _ = execute.run_all(planned, world.root, listener=listener)
    about = [text for text in listener.said if "semantic ids" in text]
    gain, warning = about
    assert gain.startswith(f"{first.id}  {planned[0].name}: semantic ids {first.digests['identifiers'][:12]}")
    assert "the first code gains " in gain
    assert "warning: " in warning  # users choose at random
    assert listener.said.index("making identifiers") < listener.said.index(gain)
    assert listener.said.index(warning) < listener.said.index("training")
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    again = world.recbench("run", "-m", "sft", "-d", "toy", "--seeds", "2", "--json", *words)
    assert [run["status"] for run in json.loads(again.stdout)] == ["complete", "complete"]
    assert [line for line in again.stderr.splitlines() if "semantic ids" in line] == about


def test_a_failed_run_says_what_why_and_try_once_each(world: World) -> None:
    done = world.recbench("run", "-m", "broken:how=usage", "-d", "toy")
    assert done.returncode == 1
    first, *lines = done.stdout.splitlines()
    (where,) = (line for line in lines if line.startswith("  at: "))
    source = Path(__file__).parents[1] / "toy_methods" / "toy_methods" / "failures.py"
    raised = 1 + next(n for n, line in enumerate(source.read_text().split("\n")) if "no such film" in line)
    assert where == f"  at: {source}:{raised} in fit"
    lines.remove(where)
    run = first.rpartition("/")[2]
    assert lines == [
        "  what: method 'broken' of toy-methods 1.0: no such film",
        "  why: it was never made",
        "  try: another film",
        f"  log: recbench logs {run}",
    ]
    assert "no such film" in world.recbench("logs", run).stdout
    assert "it was never made" not in done.stderr


def test_dry_run_names_the_runs_and_trains_nothing(world: World) -> None:
    done = world.recbench("run", "-m", "noise", "-d", "toy", "--seeds", "3", "--dry-run", "--json")
    assert done.returncode == 0
    assert [(one["fit"]["seed"], one["state"]) for one in json.loads(done.stdout)] == [
        (seed, "to do") for seed in range(3)
    ]
    assert not world.root.runs.exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("-m", "nois", "-d", "toy"), 2, "did you mean 'noise'?"),
        (("-m", "noise:bta=1", "-d", "toy"), 2, "did you mean 'beta'?"),
        (("-m", "noise", "-d", "tov"), 2, "did you mean 'toy'?"),
        (("-m", "noise", "-d", "toy", "--protocol", "ilrek"), 2, "did you mean 'ilrec'?"),
        (("-m", "speaker", "-d", "toy", "-b", "tinny"), 2, "no backbone 'tinny'; did you mean 'tiny'?"),
        (("-m", "speaker", "-d", "toy", "--set", "trian.lr=1"), 2, "did you mean 'train'?"),
        (("-m", "noise", "-d", "toy", "--set", "train.lr=1"), 2, "no selected method uses train.lr"),
        (("-m", "noise", "-d", "toy", "--seed", "1", "--seeds", "2"), 2, "cannot be given together"),
        (("-d", "toy"), 2, "no method is named"),
        (("-m", "noise", "-d", "[bold]x[/bold]"), 2, "no dataset '[bold]x[/bold]'"),
    ],
)
def test_a_wrong_request_says_what_is_meant_without_a_traceback(
    world: World, words: tuple[str, ...], code: int, said: str
) -> None:
    done = world.recbench("run", *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_verbose_shows_the_traceback_wherever_it_stands(world: World) -> None:
    for words in (("-v", "run", "-m", "nois", "-d", "toy"), ("run", "-m", "nois", "-d", "toy", "-v")):
        done = world.recbench(*words)
        assert done.returncode == 2
        assert "Traceback" in done.stderr


def test_a_password_is_masked_in_a_traceback_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("RECBENCH_MLFLOW", "http://me:secret@127.0.0.1:1")
    done = world.recbench("-v", "leaderboard", "build", "--from", "mlflow")
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "me:***@127.0.0.1:1" in done.stderr
    assert "secret" not in done.stderr


def test_missing_raw_data_is_exit_code_three(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBENCH_DATA", str(world.root.path / "nowhere"))
    done = world.recbench("run", "-m", "noise", "-d", "toy")
    assert done.returncode == 3
    assert "nowhere/toy" in done.stderr


def test_finished_runs_are_listed_shown_scored_compared_and_ranked(world: World) -> None:
    noise, counts = world.run("noise", "counts")
    listed = json.loads(world.recbench("list", "runs", "--json").stdout)
    assert {row["run"] for row in listed} == {noise.id, counts.id}
    shown = json.loads(world.recbench("show", counts.id[:6], "--json").stdout)
    assert shown["spec"]["id"] == counts.id
    scored = json.loads(world.recbench("score", counts.id, "--k", "10", "--json").stdout)
    assert scored[0]["metrics"]["hr@10"]["mean"] == counts.metrics["hr@10"]
    by_label = world.recbench("compare", "noise", "counts", "--json")
    by_id = world.recbench("compare", noise.id, counts.id, "--json")
    assert by_label.returncode == 0, by_label.stderr
    assert by_label.stdout == by_id.stdout
    built = world.recbench("leaderboard", "build")
    assert built.returncode == 0, built.stderr
    folder = world.root.path / "leaderboards" / "local"
    assert "noise" in (folder / "board.md").read_text()
    assert (folder / "index.html").read_text().lower().startswith("<!doctype html>")
    assert json.loads((folder / "board.json").read_text())


def test_a_label_stands_for_all_its_seeds(world: World) -> None:
    planned = [one for seed in (0, 1) for one in world.plan("noise", "counts", seed=seed)]
    execute.run_all(planned, world.root)
    done = world.recbench("compare", "noise", "counts", "--json")
    (one,) = json.loads(done.stdout)["comparisons"]
    assert (one["seeds_a"], one["seeds_b"], one["scope"]) == ([0, 1], [None], "methods")
    text = world.recbench("compare", "noise", "counts").stdout
    assert text.startswith("ndcg@10 on toy, 120 users")
    assert "noise" in text
    assert "95 % interval" in text


def test_a_label_that_names_several_systems_is_refused_with_their_ids(world: World) -> None:
    (exact,) = world.run("speaker")
    (beam,) = world.run("speaker", ranker="beam")
    world.run("counts")
    done = world.recbench("compare", "speaker", "counts")
    assert done.returncode == 2
    assert exact.id in done.stderr
    assert beam.id in done.stderr
    assert world.recbench("compare", exact.id, "counts").returncode == 0


def test_comparing_different_data_is_exit_code_four(world: World) -> None:
    (whole,) = world.run("counts")
    (limited,) = world.run("counts", limit_users=40)
    done = world.recbench("compare", whole.id, limited.id)
    assert done.returncode == 4
    assert "split" in done.stderr


def test_a_changed_bundle_is_exit_code_four(world: World) -> None:
    (one,) = world.run("counts")
    (one.path / "metrics.json").write_text("{}")
    done = world.recbench("show", one.id)
    assert done.returncode == 4
    assert "metrics.json" in done.stderr


def test_a_changed_bundle_is_named_and_the_others_are_listed_compared_and_ranked(world: World) -> None:
    noise, counts, changed = world.run("noise", "counts", "noise:beta=0.5")
    (changed.path / "ranks.npz").write_bytes(b"other")
    for words in (
        ("list", "runs", "--json"),
        ("compare", "noise", "counts"),
        ("leaderboard", "build", "--json"),
    ):
        done = world.recbench(*words)
        assert done.returncode == 0, done.stderr
        assert f"run {changed.id} is left out" in done.stderr
    listed = json.loads(world.recbench("list", "runs", "--json").stdout)
    assert {row["run"] for row in listed} == {noise.id, counts.id}


def test_data_are_prepared_and_verified(world: World) -> None:
    prepared = json.loads(world.recbench("data", "prepare", "toy", "--json").stdout)
    assert prepared[0]["interactions"] > 0
    assert world.recbench("data", "verify", "toy").returncode == 0
    (Path(prepared[0]["folder"]) / "targets_test.npz").write_bytes(b"other")
    assert world.recbench("data", "verify", "toy").returncode == 4


def test_nothing_is_named_twice_in_a_plan(world: World) -> None:
    assert len(world.plan("noise", "noise:beta=0.1")) == 1
    with pytest.raises(UsageError, match="no method 'nois'"):
        world.plan("nois")
