"""A matrix of runs from one file: planned, worked on by several at once, taken up again."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recbench.base import locks
from recbench.base.layout import fit_folder, run_lock
from recbench.base.progress import Silent
from recbench.planning.resources import Resources
from recbench.results import bundle
from recbench.running import execute
from recbench.running.local import LocalPool

if TYPE_CHECKING:
    from tests.conftest import World

STUDY = """
methods = ["counts", "noise", "fragile:how=memory", "fragile", "fragile:how=child"]
datasets = ["toy"]
seeds = 2

[[exclude]]
method = "fragile"
seed = 1
"""


def write_study(world: World, text: str = STUDY, name: str = "small") -> Path:
    path = world.root.path / "leaderboards" / name / "study.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def states(world: World) -> dict[str, tuple[str, str]]:
    answer = world.recbench("status", "--json")
    return {one["job"]["name"]: (one["state"], one["failure"]) for one in json.loads(answer.stdout)}


def test_what_fails_takes_nothing_along_and_is_taken_up_again_by_its_class(world: World) -> None:
    write_study(world)
    first = world.recbench("run", "--study", "small", "--max-parallel", "3")
    assert first.returncode == 1
    assert states(world) == {
        "counts on toy": ("complete", ""),
        "noise on toy seed 0": ("complete", ""),
        "noise on toy seed 1": ("complete", ""),
        "fragile[how=memory] on toy seed 0": ("failed", "oom"),
        "fragile on toy seed 0": ("failed", "method"),
        "fragile[how=child] on toy seed 0": ("failed", "oom"),
    }
    again = world.recbench("retry", "--oom")
    assert again.returncode == 0, again.stderr
    assert "how=memory" in again.stderr
    assert "noise" not in again.stderr
    assert states(world)["fragile[how=child] on toy seed 0"] == ("complete", "")
    assert states(world)["fragile on toy seed 0"] == ("failed", "method")
    assert world.recbench("retry", "--failed").returncode == 0
    assert {state for state, _ in states(world).values()} == {"complete"}
    stamps = {path: path.stat().st_mtime_ns for path in world.root.runs.glob("*/COMPLETE")}
    assert world.recbench("run", "--study", "small").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in world.root.runs.glob("*/COMPLETE")} == stamps
    assert "there is nothing to take up again" in world.recbench("retry").stdout


def test_a_plan_says_what_is_done_cached_failed_and_to_run_and_changes_nothing(world: World) -> None:
    write_study(world)
    before = world.recbench("plan", "--study", "small", "--json")
    assert {run["state"] for run in json.loads(before.stdout)["runs"]} == {"to run"}
    assert not world.root.runs.exists()
    assert not list(world.root.cache.glob("split/*"))
    world.recbench("run", "-m", "counts", "-m", "noise", "-m", "fragile", "-d", "toy")
    noise = world.plan("noise")[0]
    bundle_folder = world.root.runs / noise.spec.id
    for path in sorted(bundle_folder.rglob("*"), reverse=True):
        path.unlink()
    bundle_folder.rmdir()
    report = json.loads(world.recbench("plan", "--study", "small", "--json").stdout)
    found = {run["name"]: run for run in report["runs"]}
    assert found["counts on toy"]["state"] == "done"
    assert found["noise on toy seed 0"]["state"] == "cached"
    assert found["noise on toy seed 1"]["state"] == "to run"
    assert found["fragile on toy seed 0"]["state"] == "failed"
    assert found["counts on toy"]["seconds"] > 0
    assert found["noise on toy seed 1"]["seconds"] is None  # its only like was thrown away
    assert report["totals"]["runs"] == 5


def test_a_plan_names_what_blocks_a_run(world: World) -> None:
    answer = world.recbench("plan", "-m", "noise", "-d", "ml-1m", "--offline", "--json")
    (run,) = json.loads(answer.stdout)["runs"]
    assert run["state"] == "blocked"
    assert "'ml-1m' are not here" in run["why"]
    with_parent = world.recbench("plan", "-m", "dpo", "-b", "qwen2-0.5b", "-d", "toy", "--offline", "--json")
    parent, child = json.loads(with_parent.stdout)["runs"]
    assert (parent["name"], parent["needed_by"]) == ("sft on toy (qwen2-0.5b, semantic-id) seed 0", 1)
    assert parent["state"] == child["state"] == "blocked"
    assert child["why"].startswith("its parent is: backbone 'qwen2-0.5b'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("datasets", "no key of a study 'dataset'; did you mean 'datasets'?"),
        ("methods", "no method 'nois'; did you mean 'noise'?"),
        ("gpus", "gpus is not a positive number: 0"),
        ("time", "'soon' is no length of time"),
        ("toml", "is not valid TOML"),
        ("twice", "methods names 'noise' twice"),
        ("axis", "no key of [[exclude]] 'methods'; did you mean 'method'?"),
        ("rule", "no method of this study 'fragil'; did you mean 'fragile'?"),
        ("pairs", "no row to compare with 'nois'; did you mean 'noise'?"),
        ("settings", "settings is not a table: 3"),
        ("tables", "resources is not a list of tables"),
        ("seeds", "seeds is neither a number nor a list of seeds: [0, 0]"),
    ],
)
def test_a_study_with_a_typo_is_refused_before_anything_starts(
    world: World, change: str, message: str
) -> None:
    texts = {
        "datasets": STUDY.replace("datasets", "dataset"),
        "methods": STUDY.replace('"noise"', '"nois"'),
        "gpus": STUDY + "[[resources]]\ngpus = 0\n",
        "time": STUDY + '[[resources]]\ntime = "soon"\n',
        "toml": STUDY + "seeds",
        "twice": STUDY.replace('"counts"', '"noise"'),
        "rule": STUDY.replace('method = "fragile"', 'method = "fragil"'),
        "pairs": 'pairs = "nois"' + STUDY,
        "settings": "settings = 3" + STUDY,
        "tables": "resources = 5" + STUDY,
        "seeds": STUDY.replace("seeds = 2", "seeds = [0, 0]"),
        "axis": STUDY.replace('\nmethod = "fragile"', '\nmethods = "fragile"'),
    }
    write_study(world, texts[change])
    answer = world.recbench("run", "--study", "small")
    assert answer.returncode in (2, 3)
    assert message in answer.stderr
    assert not world.root.runs.exists()


def test_a_study_and_other_words_are_not_mixed(world: World) -> None:
    write_study(world)
    answer = world.recbench("run", "--study", "small", "--limit-users", "5")
    assert answer.returncode == 2
    assert "--limit-users and --study cannot be given together" in answer.stderr
    assert "there is no study 'smal'" in world.recbench("plan", "--study", "smal").stderr
    assert "no method is named" in world.recbench("run").stderr


class Overlap(Silent):
    """How many runs were at work at once."""

    def __init__(self, world: World, ids: list[str]) -> None:
        self.world, self.ids, self.most = world, ids, 0

    def say(self, text: str) -> None: ...

    def progress(self, *_amounts: object) -> None:
        running = [one for one in self.ids if locks.owner(run_lock(self.world.root, one))]
        self.most = max(self.most, len(running))


@pytest.mark.parametrize(("memory", "most"), [(0, 2), (1 << 50, 1)])
def test_a_pool_works_on_several_runs_while_memory_lasts(world: World, memory: int, most: int) -> None:
    planned = [one for seed in range(4) for one in world.plan("noise", seed=seed)]
    ids = [one.spec.id for one in planned]
    listener = Overlap(world, ids)
    pool = LocalPool(max_parallel=2, memory=dict.fromkeys(ids, memory))
    bundles = execute.run_all(planned, world.root, executor=pool, listener=listener)
    assert [one.id for one in bundles] == ids
    assert all(one.status == "complete" for one in bundles)
    assert listener.most <= most


def test_a_child_of_a_failed_parent_says_so_and_does_not_try_again(world: World) -> None:
    words = ("run", "-m", "dpo", "-d", "toy", "--set", "train.lr=1e30", "--set", "train.batch=1")
    answer = world.recbench(*words)
    assert answer.returncode == 1
    found = {one["job"]["name"].split()[0].split("[")[0]: one for one in _status(world)}
    assert found["sft"]["failure"] == found["dpo"]["failure"] == "method"
    assert found["dpo"]["message"].startswith(f"its parent {found['sft']['job']['run']} (sft")
    assert answer.stderr.count("the loss became") <= 2


def _status(world: World) -> list[dict[str, Any]]:
    report: list[dict[str, Any]] = json.loads(world.recbench("status", "--json").stdout)
    return report


def test_running_runs_are_seen_from_another_shell_and_can_be_cancelled(world: World) -> None:
    driver = subprocess.Popen(
        world.command("run", "-m", "slow", "-d", "toy"),
        cwd=world.root.path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    planned = world.plan("slow")[0]
    run_id, checkpoint = planned.spec.id, fit_folder(world.root.cache, planned.spec.fit.id) / "checkpoint"
    give_up = time.monotonic() + 60
    while not checkpoint.exists():
        assert time.monotonic() < give_up
        time.sleep(0.1)
    (one,) = _status(world)
    assert one["where"].endswith(f" {driver.pid}")
    assert "cancelled" in world.recbench("cancel", run_id[:6]).stdout
    assert driver.wait(60) == 130
    assert states(world)["slow on toy seed 0"] == ("cancelled", "")
    assert "nothing is queued or running" in world.recbench("cancel").stdout
    assert world.recbench("retry").returncode == 0
    assert bundle.load(world.root.runs / run_id).efficiency["attempts"] == 2
    assert world.recbench("logs", run_id).returncode == 0


def test_a_driver_that_was_killed_leaves_a_run_that_the_same_command_continues(world: World) -> None:
    words = world.command("run", "-m", "fragile:how=driver", "-d", "toy")
    killed = subprocess.run(words, cwd=world.root.path, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -9
    assert states(world) == {"fragile[how=driver] on toy seed 0": ("interrupted", "")}
    assert subprocess.run(words, cwd=world.root.path, capture_output=True, check=False).returncode == 0
    assert states(world) == {"fragile[how=driver] on toy seed 0": ("complete", "")}


def test_words_and_flags_that_do_not_fit_the_machine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(world.root.path))  # a machine without Slurm
    for flags, message in (
        (("--detach",), "--detach belongs to --on slurm"),
        (("--nodes", "2"), "one machine has one node"),
        (("--on", "slurm"), "'sbatch' is not here"),
    ):
        answer = world.recbench("run", "-m", "noise", "-d", "toy", *flags)
        assert answer.returncode in (2, 3)
        assert message in answer.stderr
    assert not world.root.runs.exists() or not list(world.root.runs.iterdir())


def test_of_the_rules_for_resources_the_last_word_counts(world: World) -> None:
    from recbench.planning.resolve import resolve
    from recbench.planning.study import read

    text = STUDY + '[[resources]]\ngpus = 2\ntime = "1h30m"\n[[resources]]\nmethod = "noise"\ngpus = 4\n'
    study = read(write_study(world, text))
    found = {one.method: study.resources_of(resolve(one)) for one in study.selections()}
    assert found["counts"] == Resources(gpus=2, minutes=90)
    assert found["noise"] == Resources(gpus=4, minutes=90)
