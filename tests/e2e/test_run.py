"""From the command to the bundle: runs on a small dataset with the methods of a third-party plugin."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recbench.base.environment import PeakMemory
from recbench.base.layout import stages_folder
from recbench.base.root import discover
from recbench.comparison.block import block_of
from recbench.dataset import split
from recbench.results import bundle, evaluate, request_features
from recbench.results.fit_record import Facts, FitRecord, RankRecord, Spent
from recbench.running import execute
from recbench.running.costs.standalone import efficiency
from recbench.stages import StageCache
from tests.e2e.conftest import Interrupting, Listening

if TYPE_CHECKING:
    from tests.conftest import World


def test_a_run_leaves_a_bundle_that_says_what_was_done(world: World) -> None:
    (one,) = world.run("noise:beta=0.3", seed=4)
    planned = world.plan("noise:beta=0.3", seed=4)[0]
    assert one.status == "complete"
    assert one.id == planned.spec.id == one.path.name
    assert one.label == "noise[beta=0.3]"
    assert one.manifest.params == {"beta": 0.3}
    assert set(one.digests) == {"raw", "log", "split", "catalogue"}
    assert one.manifest.num_requests == 120
    assert one.manifest.off_protocol is False
    assert one.manifest.versions["toy-methods"] == "1.0"
    assert (one.path / "log.txt").read_text().startswith("a library talks on stdout")
    assert [point["step"] for point in one.curve()] == [1, 2, 3]
    assert {"ranks.npz", "topk.npz", "metrics.json", "efficiency.json"} <= set(one.files)


def test_ranks_and_metrics_follow_from_the_lists_and_the_targets(world: World) -> None:
    (one,) = world.run("counts")
    targets = split.load_targets(world.plan("counts")[0].split.folder, "test")
    items = one.topk()["items"]
    for row, target in enumerate(targets):
        expected = list(items[row]).index(target) + 1 if target in items[row] else 0
        assert one.ranks[row] == expected
    assert one.metrics["hr@10"] == np.mean((one.ranks >= 1) & (one.ranks <= 10))
    kept = request_features.read(one)
    popularity = split.load_training(world.plan("counts")[0].split.folder).catalogue.popularity
    assert np.array_equal(kept.target_popularity, popularity[targets])
    assert one.metrics["popularity@5"] == pytest.approx(popularity[items[:, :5]].mean())
    assert kept.item_labels.shape == (60, 2)  # "kind 3"
    # the user's whole past: the training items and the one that was held out for validation
    sequences = split.load_training(world.plan("counts")[0].split.folder).sequences
    assert np.array_equal(kept.history_length, sequences.lengths + 1)
    assert list(one.users[:3]) == ["0", "1", "2"]


def test_the_same_run_again_is_reused_and_force_gives_the_same_numbers(world: World) -> None:
    (first,) = world.run("noise")
    stamp = (first.path / "COMPLETE").stat().st_mtime_ns
    listener = Listening()
    (again,) = world.run("noise", listener=listener)
    assert (again.path / "COMPLETE").stat().st_mtime_ns == stamp
    assert listener.said == [f"{first.id}  noise on toy seed 0: reused"]
    (forced,) = world.run("noise", force=True)
    assert (forced.path / "COMPLETE").stat().st_mtime_ns > stamp
    assert forced.metrics == first.metrics
    assert np.array_equal(forced.ranks, first.ranks)


def test_force_keeps_what_it_has_not_made_again_yet(world: World) -> None:
    noise, counts = world.run("noise", "counts")
    with pytest.raises(KeyboardInterrupt):
        world.run("noise", "counts", force=True, listener=Interrupting())
    assert bundle.load(noise.path).metrics == noise.metrics
    assert bundle.load(counts.path).metrics == counts.metrics
    assert (world.root.cache / "fits" / counts.spec.fit.id / "COMPLETE").exists()


def test_a_damaged_run_is_made_again_when_it_is_needed(world: World) -> None:
    (one,) = world.run("counts")
    (one.path / "metrics.json").write_text("{}")
    listener = Listening()
    (again,) = world.run("counts", listener=listener)
    assert f"{one.path}/metrics.json has changed" in listener.said[0]
    assert listener.said[1].endswith(": running")
    assert again.metrics == one.metrics


@pytest.mark.parametrize("force", [False, True])
def test_two_rankings_of_one_fit_train_once(world: World, force: bool) -> None:
    planned = [*world.plan("noise"), *world.plan("noise", phase="valid")]
    listener = Listening()
    test, valid = execute.run_all(planned, world.root, force=force, listener=listener)
    assert test.spec.fit.id == valid.spec.fit.id
    assert listener.stages.count("training 3/3") == 1
    assert len(list((world.root.cache / "fits").iterdir())) == 1
    assert not np.array_equal(test.ranks, valid.ranks)


def test_seeds_are_other_runs_but_a_method_without_chance_has_one(world: World) -> None:
    planned = [one for seed in (0, 1) for one in world.plan("noise", "counts", seed=seed)]
    assert len({one.spec.id for one in planned}) == 3


def test_other_seeds_give_other_rankings(world: World) -> None:
    (first,) = world.run("noise", seed=0)
    (second,) = world.run("noise", seed=1)
    assert not np.array_equal(first.topk()["items"], second.topk()["items"])


@pytest.mark.parametrize(
    ("how", "failure"), [("error", "method"), ("killed", "oom"), ("crash", "method"), ("late", "method")]
)
def test_a_failing_method_leaves_a_reason_and_the_others_run(world: World, how: str, failure: str) -> None:
    failed, finished = world.run(f"broken:how={how}", "counts")
    assert (failed.status, finished.status) == ("failed", "complete")
    assert failed.reason is not None
    assert failed.reason["class"] == failure
    assert failed.metrics == {}


def test_a_failed_run_is_tried_again_and_replaced(world: World) -> None:
    (failed,) = world.run("broken:how=error")
    fit = world.root.cache / "fits" / failed.spec.fit.id
    assert not (fit / "COMPLETE").exists()
    listener = Listening()
    world.run("broken:how=error", listener=listener)
    assert listener.said[0].endswith(": running")
    assert [path.name for path in bundle.find(world.root.runs)] == [failed.id]


def test_a_run_that_fails_after_its_ranking_keeps_the_whole_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evaluate, "score_into", full)
    (failed,) = world.run("broken:how=never")
    assert failed.status == "failed"
    log = (failed.path / "log.txt").read_text()
    assert log.index("fitted") < log.index("ranked")
    assert "rank.log" not in failed.files


def test_runs_that_may_not_stand_on_a_board_say_why(world: World) -> None:
    (limited,) = world.run("counts", limit_users=30)
    (valid,) = world.run("counts", phase="valid")
    assert limited.manifest.reasons == ["limited to 30 users"]
    assert len(limited.ranks) == 30
    assert valid.manifest.reasons == ["ranks the validation items"]
    assert limited.manifest.off_protocol is valid.manifest.off_protocol is True


def test_the_settings_of_a_language_model_reach_its_fit_and_its_bundle(world: World) -> None:
    (one,) = world.run("speaker", settings={"train.lr": "0.5"}, ranker="exact:budget=500")
    llm, ranker = one.spec.fit.llm, one.spec.ranker
    assert llm is not None
    assert ranker is not None
    assert (llm["train"]["epochs"], llm["train"]["lr"]) == (2.0, 0.5)
    # it ranks by itself, so the engine's ranker is what it may call, and its certificates prove nothing
    assert (ranker["name"], ranker["method"], ranker["engine"]["budget"]) == ("own", "speaker", 500)
    block = block_of(one)
    assert block is not None
    assert block["ranker"].startswith("own[engine=exact[")
    assert one.manifest.certified_share is None
    links = [one.digests[name] for name in ("prompt", "backbone", "identifiers")]
    assert links == ["p" * 64, "b" * 64, "i"]
    assert one.efficiency["num_parameters"] == 11
    assert one.label == "speaker[train.lr=0.5]"
    assert one.efficiency["nodes_per_user"] == 5.0


def surroundings(world: World) -> Mapping[str, Any]:
    """What a worker sees, by what the method `surroundings` leaves."""
    root = discover(cwd=world.root.path)
    (one,) = execute.run_all(world.plan("surroundings"), root)
    return one.manifest.facts.more


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
    (one,) = world.run("canary")
    # by chance 120 / 60 = 2 of 120 targets come first; 10 or more have a probability below 1e-4
    assert (one.ranks == 1).sum() < 10


def test_the_method_that_looks_for_the_targets_would_find_them(world: World) -> None:
    targets = world.plan("canary")[0].split.folder / "targets_test.npz"
    shutil.copy(targets, world.root.path / "leaked.npz")
    (one,) = world.run(f"canary:leak={world.root.path / 'leaked.npz'}")
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
    execute.run_all(planned, world.root)
    assert there == [True]


def test_shared_stages_count_in_full_whoever_built_them(world: World) -> None:
    def build(folder: Path) -> None:
        time.sleep(0.02)
        np.save(folder / "made.npy", np.arange(60))

    StageCache(stages_folder(world.root.cache)).get("made", {"size": 60}, build)
    first, second = world.run("staged", "staged:width=5")
    stages = [one.efficiency["seconds"]["stages"] for one in (first, second)]
    assert stages[0] == stages[1] >= 0.02
    assert first.efficiency["seconds"]["fit"] >= 0


def test_efficiency_adds_up_and_keeps_its_columns() -> None:
    fitted = FitRecord(
        spent=Spent(
            seconds=10.0,
            attempts=2,
            stages={"sasrec/aa": 4.0, "identifiers/bb": 3.0},
            stages_built=["sasrec/aa"],
        ),
        counts={"steps": 7, "trained_tokens": 900, "generated_tokens": 5},
        facts=Facts(num_parameters={"all": 11, "trainable": 3}),
        peak=PeakMemory(host_bytes=100, gpu_bytes=None),
        device="cpu",
        threads=2,
    )
    ranked = RankRecord(
        seconds=2.0,
        stats={"generated_tokens": 20.0, "nodes_per_user": 3.5},
        peak=PeakMemory(host_bytes=150, gpu_bytes=None),
    )
    cost = efficiency(fitted, ranked)
    # own training 10 - 4 (built on the way) = 6; stages 4 + 3 = 7; ranking 2
    assert cost["seconds"] == {"fit": 6.0, "parent": 0, "stages": 7.0, "rank": 2.0, "total": 15.0}
    assert (cost["steps"], cost["trained_tokens"], cost["generated_tokens"]) == (7, 900, 25)
    assert (cost["forward_tokens"], cost["compute_tokens"]) == (None, None)  # an older record
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
