"""Studies on a real Slurm cluster, with accounting and two nodes that have GPUs, or pretend to.

    SLURM_CONF=... pytest -m slurm tests/slurm

The partition `scavenge` is preempted by the default one. Without such a cluster these tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recbench.base.layout import fit_folder
from recbench.errors import MissingError
from recbench.results import bundle
from recbench.running.slurm.queue import read_partitions, read_states

if TYPE_CHECKING:
    from tests.conftest import World

pytestmark = pytest.mark.slurm

STUDY = """
methods = ["counts", "noise", "sft"]
datasets = ["toy"]
seeds = 2
[settings]
"train.epochs" = 1.0
[[resources]]
gpus = 1
time = "30m"
"""
FRAGILE = """
methods = ["counts", "noise", "fragile", "fragile:how=memory", "fragile:how=child", "fragile:how=driver"]
datasets = ["toy"]
[[resources]]
time = "30m"
"""
PROFILES = """
[profiles.default]
max_requeues = 0
[profiles.scavenge]
partition = "scavenge"
"""
PATIENCE = 600.0


@pytest.fixture(autouse=True)
def _cluster() -> None:
    try:
        found = set(read_partitions())
    except MissingError:
        found = set()
    if not {"gpu", "scavenge"} <= found:
        pytest.skip("no cluster with the partitions gpu and scavenge; see CONTRIBUTING.md")


@pytest.fixture
def cluster(world: World) -> World:
    """A root whose jobs see the methods of the plugin, as its environment travels with them."""
    (world.root.path / "recbench.toml").write_text(PROFILES)
    for name, text in (("small", STUDY), ("fragile", FRAGILE)):
        folder = world.root.path / "leaderboards" / name
        folder.mkdir(parents=True)
        (folder / "study.toml").write_text(text)
    return world


def call(world: World, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as jobs outlive it."""
    done = subprocess.run(
        world.command(*words),
        cwd=world.root.path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def states(world: World) -> dict[str, tuple[str, str]]:
    report = json.loads(call(world, "status", "--json").stdout)
    return {one["job"]["name"]: (one["state"], one["failure"]) for one in report}


def numbers(world: World) -> list[str]:
    return sorted(path.name for path in (world.root.path / "jobs" / "slurm").glob("*_submission.sh"))


def until(what: Any) -> None:
    give_up = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < give_up, "this took too long"
        time.sleep(0.5)


def test_a_study_runs_on_the_cluster_and_repeated_submits_nothing(cluster: World) -> None:
    call(cluster, "run", "--study", "small", "--on", "slurm")
    assert {state for state, _ in states(cluster).values()} == {"complete"}
    assert len(states(cluster)) == 5  # counts has one fit for all seeds
    submitted = numbers(cluster)
    assert submitted
    again = call(cluster, "run", "--study", "small", "--on", "slurm")
    assert again.stderr.count("reused") == 5
    assert numbers(cluster) == submitted
    board = json.loads(call(cluster, "leaderboard", "build", "--json").stdout)
    (table,) = board["tables"]
    assert {row["name"] for row in table["rows"]} == {"counts", "noise", "sft[train.epochs=1.0]"}


def test_each_failure_has_its_class_and_retry_finishes_all(cluster: World) -> None:
    detached = call(cluster, "run", "--study", "fragile", "--on", "slurm", "--detach")
    assert "recbench status" in detached.stderr
    # Slurm counts in minutes: this one is asked to stop after one of them, and does not listen
    late = ("-m", "fragile:how=late", "-d", "toy", "--time", "3m")
    call(cluster, "run", *late, "--on", "slurm", "--detach")
    until(lambda: {state for state, _ in states(cluster).values()} <= {"complete", "failed"})
    assert states(cluster) == {
        "counts on toy": ("complete", ""),
        "noise on toy seed 0": ("complete", ""),
        "fragile on toy seed 0": ("failed", "method"),
        "fragile[how=memory] on toy seed 0": ("failed", "oom"),
        "fragile[how=child] on toy seed 0": ("failed", "oom"),
        "fragile[how=driver] on toy seed 0": ("failed", "harness"),
        "fragile[how=late] on toy seed 0": ("failed", "timeout"),
    }
    call(cluster, "retry", "--failed")
    assert {state for state, _ in states(cluster).values()} == {"complete"}


def test_a_driver_that_is_killed_after_submitting_is_not_missed(cluster: World) -> None:
    words = cluster.command("run", "--study", "small", "--on", "slurm")
    with subprocess.Popen(words, cwd=cluster.root.path, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stderr is not None
        said = 0
        while said < 5:
            said += ": job " in driver.stderr.readline()
        driver.kill()
    until(lambda: {state for state, _ in states(cluster).values()} == {"complete"})
    assert len(states(cluster)) == 5
    call(cluster, "leaderboard", "build")


def test_a_preempted_run_continues_with_the_same_ranks(cluster: World, tmp_path: Path) -> None:
    words = ["run", "-m", "sft", "-d", "toy", "--set", "train.epochs=60"]
    undisturbed = tmp_path / "other"
    shutil.copytree(cluster.root.path, undisturbed)
    call(cluster, *words, "--root", str(undisturbed))
    call(cluster, *words, "--on", "slurm", "--profile", "scavenge", "--time", "40m", "--detach")
    (record,) = (cluster.root.path / "jobs").glob("*.json")
    job = json.loads(record.read_text())
    fit = fit_folder(cluster.root.cache, job["fit"])
    until(lambda: _steps(fit) > 20)
    subprocess.run(
        ["sbatch", "--wait", "-p", "gpu", "--nodes=2", "--gpus-per-node=4", "--wrap", "sleep 3"],
        cwd=cluster.root.path,  # where its log goes
        check=True,
    )
    stopped = _steps(fit)
    until(lambda: states(cluster)[job["name"]][0] in ("complete", "failed"))
    assert states(cluster)[job["name"]] == ("complete", "")
    runs = [bundle.load(root / "runs" / job["run"]) for root in (cluster.root.path, undisturbed)]
    assert np.array_equal(runs[0].topk()["items"], runs[1].topk()["items"])
    assert np.array_equal(runs[0].ranks, runs[1].ranks)
    assert runs[0].efficiency["attempts"] == 2
    assert stopped < runs[0].efficiency["steps"], "it was over before it was preempted"


def _steps(fit: Path) -> int:
    """The step that the fit's curve has come to."""
    try:
        lines = (fit / "train.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return max((json.loads(line).get("step", 0) for line in lines), default=0)


def test_two_nodes_share_a_run_and_cancel_stops_one(cluster: World) -> None:
    call(cluster, "run", "-m", "sft", "-d", "toy", "--set", "train.epochs=1", "--on", "slurm", "--nodes", "2")
    (record,) = (cluster.root.path / "jobs").glob("*.json")
    made = bundle.load(cluster.root.runs / json.loads(record.read_text())["run"])
    assert made.efficiency["processes"] == 2
    call(cluster, "run", "-m", "slow", "-d", "toy", "--on", "slurm", "--detach")
    until(lambda: states(cluster)["slow on toy seed 0"][0] == "running")
    call(cluster, "cancel")
    records = [json.loads(path.read_text()) for path in (cluster.root.path / "jobs").glob("*.json")]
    number = next(one["slurm"]["id"] for one in records if one["name"].startswith("slow"))
    until(lambda: (read_states([number]) or {}).get(number, "").startswith("CANCELLED"))
    until(lambda: states(cluster)["slow on toy seed 0"] == ("cancelled", ""))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--profile", "scavange"), "no profile 'scavange'; did you mean 'scavenge'?"),
        (("--gpus", "9"), "more than a node has"),
        (("--time", "9d"), "more than partition 'gpu' allows"),
        (("--time", "soon"), "'soon' is no length of time"),
    ],
)
def test_what_the_cluster_cannot_give_is_refused_before_anything_is_submitted(
    cluster: World, flags: tuple[str, ...], message: str
) -> None:
    refused = call(cluster, "run", "-m", "noise", "-d", "toy", "--on", "slurm", *flags, code=2)
    assert message in refused.stderr
    assert not (cluster.root.path / "jobs").exists()


def test_a_partition_that_does_not_exist_is_refused_by_name(cluster: World) -> None:
    (cluster.root.path / "recbench.toml").write_text('[profiles.a100]\npartition = "gpus"\n')
    refused = call(cluster, "run", "-m", "noise", "-d", "toy", "--on", "slurm", code=2)
    assert "no partition 'gpus'; did you mean 'gpu'?" in refused.stderr
