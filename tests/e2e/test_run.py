"""From the command to the bundle: runs on a small data set with the methods of a third-party plugin."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recbench import bundle, context, drive, split, store
from recbench.bundle import Bundle
from recbench.efficiency import efficiency
from recbench.errors import UsageError
from recbench.method import Silent
from recbench.root import Root, discover
from recbench.sync import pending

if TYPE_CHECKING:
    from tests.conftest import World


class Listening(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, stage: str, done: int, total: int) -> None:
        self.stages.append(f"{stage} {done}/{total}")


class Interrupting(Listening):
    """Ctrl-C as soon as a method trains."""

    def progress(self, stage: str, done: int, total: int) -> None:
        super().progress(stage, done, total)
        if stage == "training":
            raise KeyboardInterrupt


def run_all(world: World, *methods: str, listener: Listening | None = None, **more: Any) -> list[Bundle]:
    force = more.pop("force", False)
    return drive.run_all(world.plan(*methods, **more), world.root, force=force, listener=listener)


def test_a_run_leaves_a_bundle_that_says_what_was_done(world: World) -> None:
    (one,) = run_all(world, "noise:beta=0.3", seed=4)
    planned = world.plan("noise:beta=0.3", seed=4)[0]
    assert one.status == "complete"
    assert one.id == planned.spec.id == one.path.name
    assert one.label == "noise[beta=0.3]"
    assert one.manifest["params"] == {"beta": 0.3}
    assert set(one.digests) == {"raw", "log", "split", "catalogue"}
    assert one.manifest["num_requests"] == 120
    assert one.manifest["off_protocol"] is False
    assert one.manifest["versions"]["toy-methods"] == "1.0"
    assert (one.path / "log.txt").read_text().startswith("a library talks on stdout")
    assert [point["step"] for point in one.curve()] == [1, 2, 3]
    assert {"ranks.npz", "topk.npz", "metrics.json", "efficiency.json"} <= set(one.manifest["files"])


def test_ranks_and_metrics_follow_from_the_lists_and_the_targets(world: World) -> None:
    (one,) = run_all(world, "counts")
    targets = split.load_targets(world.plan("counts")[0].split.folder, "test")
    items = one.topk()["items"]
    for row, target in enumerate(targets):
        expected = list(items[row]).index(target) + 1 if target in items[row] else 0
        assert one.ranks[row] == expected
    assert one.metrics["hr@10"] == np.mean((one.ranks >= 1) & (one.ranks <= 10))
    kept = context.read(one)
    popularity = split.load_training(world.plan("counts")[0].split.folder).catalogue.popularity
    assert np.array_equal(kept.target_popularity, popularity[targets])
    assert one.metrics["popularity@5"] == pytest.approx(popularity[items[:, :5]].mean())
    assert kept.item_labels.shape == (60, 2)  # "kind 3"
    # the user's whole past: the training items and the one that was held out for validation
    sequences = split.load_training(world.plan("counts")[0].split.folder).sequences
    assert np.array_equal(kept.history_length, sequences.lengths + 1)
    assert list(one.users[:3]) == ["0", "1", "2"]


def test_the_same_run_again_is_reused_and_force_gives_the_same_numbers(world: World) -> None:
    (first,) = run_all(world, "noise")
    stamp = (first.path / "COMPLETE").stat().st_mtime_ns
    listener = Listening()
    (again,) = run_all(world, "noise", listener=listener)
    assert (again.path / "COMPLETE").stat().st_mtime_ns == stamp
    assert listener.said == [f"{first.id}  noise on toy seed 0: reused"]
    (forced,) = run_all(world, "noise", force=True)
    assert (forced.path / "COMPLETE").stat().st_mtime_ns > stamp
    assert forced.metrics == first.metrics
    assert np.array_equal(forced.ranks, first.ranks)


def test_force_keeps_what_it_has_not_made_again_yet(world: World) -> None:
    noise, counts = run_all(world, "noise", "counts")
    with pytest.raises(KeyboardInterrupt):
        run_all(world, "noise", "counts", force=True, listener=Interrupting())
    assert bundle.load(noise.path).metrics == noise.metrics
    assert bundle.load(counts.path).metrics == counts.metrics
    assert (world.root.cache / "fits" / counts.spec.fit.id / "COMPLETE").exists()


def test_a_damaged_run_is_made_again_when_it_is_needed(world: World) -> None:
    (one,) = run_all(world, "counts")
    (one.path / "metrics.json").write_text("{}")
    listener = Listening()
    (again,) = run_all(world, "counts", listener=listener)
    assert f"{one.path}/metrics.json has changed" in listener.said[0]
    assert listener.said[1].endswith(": running")
    assert again.metrics == one.metrics


@pytest.mark.parametrize("force", [False, True])
def test_two_rankings_of_one_fit_train_once(world: World, force: bool) -> None:
    planned = [*world.plan("noise"), *world.plan("noise", phase="valid")]
    listener = Listening()
    test, valid = drive.run_all(planned, world.root, force=force, listener=listener)
    assert test.spec.fit.id == valid.spec.fit.id
    assert listener.stages.count("training 3/3") == 1
    assert len(list((world.root.cache / "fits").iterdir())) == 1
    assert not np.array_equal(test.ranks, valid.ranks)


def test_seeds_are_other_runs_but_a_method_without_chance_has_one(world: World) -> None:
    planned = [one for seed in (0, 1) for one in world.plan("noise", "counts", seed=seed)]
    assert len({one.spec.id for one in planned}) == 3


def test_other_seeds_give_other_rankings(world: World) -> None:
    (first,) = run_all(world, "noise", seed=0)
    (second,) = run_all(world, "noise", seed=1)
    assert not np.array_equal(first.topk()["items"], second.topk()["items"])


@pytest.mark.parametrize(
    ("how", "failure"), [("error", "method"), ("killed", "oom"), ("crash", "method"), ("late", "method")]
)
def test_a_failing_method_leaves_a_reason_and_the_others_run(world: World, how: str, failure: str) -> None:
    failed, finished = run_all(world, f"broken:how={how}", "counts")
    assert (failed.status, finished.status) == ("failed", "complete")
    assert failed.reason is not None
    assert failed.reason["class"] == failure
    assert failed.metrics == {}


def test_a_failed_run_is_tried_again_and_replaced(world: World) -> None:
    (failed,) = run_all(world, "broken:how=error")
    fit = world.root.cache / "fits" / failed.spec.fit.id
    assert not (fit / "COMPLETE").exists()
    listener = Listening()
    run_all(world, "broken:how=error", listener=listener)
    assert listener.said[0].endswith(": running")
    assert [path.name for path in bundle.find(world.root.runs)] == [failed.id]


def test_a_run_that_fails_after_its_ranking_keeps_the_whole_log(world: World) -> None:
    (failed,) = run_all(world, "broken:how=facts")  # its facts hold NaN, which no manifest takes
    assert failed.status == "failed"
    log = (failed.path / "log.txt").read_text()
    assert log.index("fitted") < log.index("ranked")
    assert "rank.log" not in failed.manifest["files"]


def test_runs_that_may_not_stand_on_a_board_say_why(world: World) -> None:
    (limited,) = run_all(world, "counts", limit_users=30)
    (valid,) = run_all(world, "counts", phase="valid")
    assert limited.manifest["reasons"] == ["limited to 30 users"]
    assert len(limited.ranks) == 30
    assert valid.manifest["reasons"] == ["ranks the validation items"]
    assert limited.manifest["off_protocol"] is valid.manifest["off_protocol"] is True


def test_the_settings_of_a_language_model_reach_its_fit_and_its_bundle(world: World) -> None:
    (one,) = run_all(world, "speaker", settings={"train.lr": "0.5"}, ranker="exact:budget=500")
    llm, ranker = one.spec.fit.llm, one.spec.ranker
    assert llm is not None
    assert ranker is not None
    assert (llm["train"]["epochs"], llm["train"]["lr"], ranker["budget"]) == (2.0, 0.5, 500)
    links = [one.digests[name] for name in ("prompt", "backbone", "identifiers")]
    assert links == ["p" * 64, "b" * 64, "i"]
    assert one.efficiency["num_parameters"] == 11
    assert one.label == "speaker[train.lr=0.5]"
    assert one.manifest["certified_share"] == 0.75  # rows 0, 4, 8, ... of 120 are not: 30 of 120
    assert one.efficiency["nodes_per_user"] == 5.0


def surroundings(world: World) -> dict[str, Any]:
    """What a worker sees, by what the method `surroundings` leaves."""
    root = discover(cwd=world.root.path)
    (one,) = drive.run_all(world.plan("surroundings"), root)
    facts: dict[str, Any] = one.manifest["facts"]
    return facts


def test_a_worker_sees_its_own_gpu_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,GPU-bb,GPU-cc")
    monkeypatch.setenv("RECBENCH_DEVICE", "cuda:1")
    seen = surroundings(world)
    assert (seen["device"], seen["CUDA_VISIBLE_DEVICES"]) == ("cuda", "GPU-bb")


@pytest.mark.parametrize(
    ("variables", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_idle_threads_of_a_worker_spin_shortly_unless_the_user_says_otherwise(
    world: World, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], spins: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    seen = surroundings(world)
    assert seen["GOMP_SPINCOUNT"] == spins
    assert seen["OMP_WAIT_POLICY"] == variables.get("OMP_WAIT_POLICY")


def test_a_method_that_looks_for_the_targets_everywhere_scores_at_chance(world: World) -> None:
    (one,) = run_all(world, "canary")
    # by chance 120 / 60 = 2 of 120 targets come first; 10 or more have a probability below 1e-4
    assert (one.ranks == 1).sum() < 10


def test_the_method_that_looks_for_the_targets_would_find_them(world: World) -> None:
    targets = world.plan("canary")[0].split.folder / "targets_test.npz"
    shutil.copy(targets, world.root.path / "leaked.npz")
    (one,) = run_all(world, f"canary:leak={world.root.path / 'leaked.npz'}")
    assert one.metrics["hr@1"] == 1.0


def test_the_targets_are_opened_only_when_the_ranking_is_on_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = world.plan("counts")
    there: list[bool] = []
    load = split.load_targets

    def watched(folder: Path, phase: Any) -> Any:
        there.append(any(world.root.runs.glob(".*.partial/topk.npz")))
        return load(folder, phase)

    monkeypatch.setattr(split, "load_targets", watched)
    drive.run_all(planned, world.root)
    assert there == [True]


def test_shared_stages_count_in_full_whoever_built_them(world: World) -> None:
    first, second = run_all(world, "staged", "staged:width=5")
    stages = [one.efficiency["seconds"]["stages"] for one in (first, second)]
    assert stages[0] == stages[1] >= 0.02
    assert first.efficiency["seconds"]["fit"] >= 0


def test_efficiency_adds_up_and_keeps_its_columns() -> None:
    fitted: dict[str, Any] = {
        "seconds": 10.0,
        "attempts": 2,
        "stages": {"sasrec/aa": 4.0, "identifiers/bb": 3.0},
        "stages_built": ["sasrec/aa"],
        "counts": {"steps": 7, "trained_tokens": 900, "generated_tokens": 5},
        "facts": {"num_parameters": {"all": 11, "trainable": 3}},
        "peak": {"host_bytes": 100, "gpu_bytes": None},
        "device": "cpu",
        "threads": 2,
    }
    ranked = {
        "seconds": 2.0,
        "stats": {"generated_tokens": 20.0, "nodes_per_user": 3.5},
        "peak": {"host_bytes": 150, "gpu_bytes": None},
    }
    cost = efficiency(fitted, ranked)
    # own training 10 - 4 (built on the way) = 6; stages 4 + 3 = 7; ranking 2
    assert cost["seconds"] == {"fit": 6.0, "parent": 0, "stages": 7.0, "rank": 2.0, "total": 15.0}
    assert (cost["steps"], cost["trained_tokens"], cost["generated_tokens"]) == (7, 900, 25)
    assert (cost["peak_host_bytes"], cost["peak_gpu_bytes"], cost["gpu_seconds"]) == (150, None, None)
    assert (cost["num_parameters"], cost["num_trainable"]) == (11, 3)


def test_an_interrupted_run_leaves_nothing_finished_and_the_same_command_continues(world: World) -> None:
    words = ("run", "-m", "slow", "-d", "toy")
    driver = subprocess.Popen(
        world.command(*words), cwd=world.root.path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    planned = world.plan("slow")[0]
    checkpoint = world.root.cache / "fits" / planned.spec.fit.id / "checkpoint"
    give_up = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < give_up:
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "interrupted; the same command continues" in errors
    assert "Traceback" not in errors
    assert list(world.root.runs.iterdir()) == []
    again = world.recbench(*words)
    assert again.returncode == 0
    assert bundle.status(world.root.runs / planned.spec.id) == "complete"
    assert bundle.load(world.root.runs / planned.spec.id).efficiency["attempts"] == 2


def test_two_commands_at_once_make_one_run(world: World) -> None:
    words = world.command("run", "-m", "noise", "-d", "toy")
    both = [subprocess.Popen(words, cwd=world.root.path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [child.communicate(timeout=60)[1] for child in both]
    assert [child.returncode for child in both] == [0, 0]
    assert sum(": running" in text for text in said) == 1
    assert sum(": reused" in text for text in said) == 1


def test_a_store_that_is_down_only_warns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBENCH_MLFLOW", "sqlite:////proc/no-such-folder/mlflow.db")
    listener = Listening()
    (one,) = drive.run_all(world.plan("counts"), discover(cwd=world.root.path), listener=listener)
    assert one.status == "complete"
    assert "try: recbench sync" in listener.said[-1]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables; making them takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    store.sync([], uri=f"sqlite:///{folder / 'mlflow.db'}", artifacts_root=folder / "artifacts")
    return folder / "mlflow.db"


@pytest.fixture
def stored(world: World, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """The root of `world`, with a store of its own."""
    monkeypatch.delenv("RECBENCH_MLFLOW")
    shutil.copy(empty_store, world.root.path / "mlflow.db")
    return discover(cwd=world.root.path)


def in_store(root: Root) -> dict[str, str]:
    """The status of every stored run, by its id here."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=root.mlflow_uri)
    runs = client.search_runs([client.get_experiment_by_name("recbench").experiment_id])
    return {
        one.data.tags["recbench.run_id"]: one.info.status
        for one in runs
        if "recbench.run_id" in one.data.tags
    }


def test_what_is_finished_when_a_command_is_interrupted_is_in_the_store(world: World, stored: Root) -> None:
    planned = world.plan("broken", "counts", "noise")
    with pytest.raises(KeyboardInterrupt):
        drive.run_all(planned, stored, listener=Interrupting())
    failed, finished, interrupted = (one.spec.id for one in planned)
    assert in_store(stored) == {failed: "FAILED", finished: "FINISHED"}
    drive.run_all(planned, stored)
    assert in_store(stored) == {failed: "FAILED", finished: "FINISHED", interrupted: "FINISHED"}


def test_what_is_finished_when_a_later_run_breaks_the_command_is_in_the_store(
    world: World, stored: Root
) -> None:
    finished, broken = world.plan("counts", "noise")
    stored.runs.mkdir()
    (stored.runs / f".{broken.spec.id}.partial").write_text("a file where the folder should be")
    with pytest.raises(NotADirectoryError):
        drive.run_all([finished, broken], stored)
    assert in_store(stored) == {finished.spec.id: "FINISHED"}


def test_a_reused_run_that_the_store_missed_goes_there_and_one_that_it_has_leaves_it_closed(
    world: World, stored: Root
) -> None:
    planned = world.plan("counts")
    drive.run_all(planned, world.root)  # without a store
    drive.run_all(planned, stored)
    assert in_store(stored) == {planned[0].spec.id: "FINISHED"}
    (stored.path / "mlflow.db").write_bytes(b"whoever opens this store is told that it is none")
    listener = Listening()
    drive.run_all(planned, stored, listener=listener)
    assert [text for text in listener.said if "warning" in text] == []
    done = world.recbench("sync")  # asks the store itself
    assert done.returncode == 3


def test_sync_brings_every_undamaged_run_once(world: World, stored: Root) -> None:
    finished, failed, damaged = run_all(world, "counts", "broken", "noise")
    (damaged.path / "log.txt").write_text("other")
    first, second = world.recbench("sync"), world.recbench("sync")
    assert first.stdout.startswith("2 of 2 runs were new")
    assert second.stdout.startswith("0 of 2 runs were new")
    assert damaged.id in first.stderr
    assert in_store(stored) == {finished.id: "FINISHED", failed.id: "FAILED"}


def test_a_store_that_was_removed_is_filled_again(world: World, stored: Root) -> None:
    planned = world.plan("counts")
    (one,) = drive.run_all(planned, stored)
    assert pending([one], stored) == []
    (stored.path / "mlflow.db").unlink()
    assert pending([one], stored) == [one]


def test_run_prints_what_was_resolved_then_metrics_with_intervals(world: World) -> None:
    done = world.recbench("run", "-m", "speaker", "-m", "counts", "-d", "toy")
    assert done.returncode == 0, done.stderr
    assert "toy: 120 users, 60 items  (-d)" in done.stderr
    num_targets = world.plan("speaker")[0].split.statistics["training_targets"]
    assert f"2 epochs of {num_targets} targets" in done.stderr
    assert "(--set train.epochs=N)" in done.stderr
    assert "75.0%" in done.stdout
    assert "next: recbench compare counts speaker" in done.stdout


def test_json_alone_goes_to_stdout_and_a_failure_gives_exit_code_one(world: World) -> None:
    done = world.recbench("run", "-m", "broken", "-m", "counts", "-d", "toy", "--json")
    failed, finished = json.loads(done.stdout)
    assert done.returncode == 1
    assert (failed["status"], failed["reason"]["class"]) == ("failed", "method")
    low, mean, high = (finished["intervals"]["ndcg@10"][name] for name in ("low", "mean", "high"))
    assert low <= mean == finished["metrics"]["ndcg@10"] <= high


def test_a_failed_run_says_what_why_and_try_once_each(world: World) -> None:
    done = world.recbench("run", "-m", "broken:how=usage", "-d", "toy")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == [
        "  what: no such film",
        "  why: it was never made",
        "  try: another film",
    ]
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


def test_missing_raw_data_is_exit_code_three(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBENCH_DATA", str(world.root.path / "nowhere"))
    done = world.recbench("run", "-m", "noise", "-d", "toy")
    assert done.returncode == 3
    assert "nowhere/toy" in done.stderr


def test_finished_runs_are_listed_shown_scored_compared_and_ranked(world: World) -> None:
    noise, counts = run_all(world, "noise", "counts")
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
    drive.run_all(planned, world.root)
    done = world.recbench("compare", "noise", "counts", "--json")
    (one,) = json.loads(done.stdout)["comparisons"]
    assert (one["seeds_a"], one["seeds_b"], one["scope"]) == ([0, 1], [None], "methods")
    text = world.recbench("compare", "noise", "counts").stdout
    assert text.startswith("ndcg@10 on toy, 120 users")
    assert "noise" in text
    assert "95 % interval" in text


def test_a_label_that_names_several_systems_is_refused_with_their_ids(world: World) -> None:
    (exact,) = run_all(world, "speaker")
    (beam,) = run_all(world, "speaker", ranker="beam")
    run_all(world, "counts")
    done = world.recbench("compare", "speaker", "counts")
    assert done.returncode == 2
    assert exact.id in done.stderr
    assert beam.id in done.stderr
    assert world.recbench("compare", exact.id, "counts").returncode == 0


def test_comparing_different_data_is_exit_code_four(world: World) -> None:
    (whole,) = run_all(world, "counts")
    (limited,) = run_all(world, "counts", limit_users=40)
    done = world.recbench("compare", whole.id, limited.id)
    assert done.returncode == 4
    assert "split" in done.stderr


def test_a_changed_bundle_is_exit_code_four(world: World) -> None:
    (one,) = run_all(world, "counts")
    (one.path / "metrics.json").write_text("{}")
    done = world.recbench("show", one.id)
    assert done.returncode == 4
    assert "metrics.json" in done.stderr


def test_a_changed_bundle_is_named_and_the_others_are_listed_compared_and_ranked(world: World) -> None:
    noise, counts, changed = run_all(world, "noise", "counts", "noise:beta=0.5")
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
