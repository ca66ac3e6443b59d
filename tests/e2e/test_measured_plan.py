"""`recbench plan --measure`: what runs take, timed on a few steps and users, and nothing that stays of it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

import recbench
from recbench.planning.resources import seconds_of

if TYPE_CHECKING:
    from tests.conftest import World

SHORT = ("--measure", "--measure-limit", "20s")


def measured(world: World, *words: str) -> dict[str, dict[str, Any]]:
    """The runs of a measured plan, by method."""
    said = world.recbench("plan", "-d", "toy", "--json", *words)
    assert said.returncode == 0, said.stderr
    return {run["name"].partition(" ")[0].partition("[")[0]: run for run in json.loads(said.stdout)["runs"]}


def traces(world: World) -> list[str]:
    """What lies below the root beside its data, and what every command keeps of third parties' classes."""
    names = {path.relative_to(world.root.path).parts[:2] for path in world.root.path.rglob("*")}
    kept = ("raw", "datasets", "cache/descriptions")
    return sorted(name for name in map("/".join, names) if not name.startswith(kept))


def test_a_measured_plan_foretells_fit_and_ranking_and_leaves_nothing(world: World) -> None:
    """120 users with 720 training targets: 90 steps of 16 rows in 2 epochs, of which 4 are done."""
    settings = ("--set", "train.batch=16", "--set", "train.epochs=2")
    found = measured(world, "-m", "counts", "-m", "paced", "--seeds", "2", *settings, *SHORT)
    paced = found["paced"]
    targets = world.plan("counts")[0].split.statistics.training_targets
    assert targets == 720
    assert paced["measured_on"] == "4 steps and 64 users here"
    # half a second before, 0.25 s a step, 0.02 s a user; a busy machine takes longer
    least = 0.5 + 0.25 * 90 + 0.02 * 120
    assert least < paced["seconds"] < 1.5 * least + 3
    assert 2.4 < paced["rank_seconds"] < 2.4 * 1.5
    assert paced["host_bytes"] > 1 << 20
    assert paced["gpu_bytes"] is None
    assert found["counts"]["measured_on"] == "its fit and 64 users here"
    assert found["counts"]["seconds"] < 10
    assert {run["state"] for run in found.values()} == {"to run"}
    assert traces(world) == ["cache", "cache/split"]


def test_seeds_share_what_is_timed_and_the_totals_count_each(world: World) -> None:
    said = world.recbench("plan", "-m", "noise", "-d", "toy", "--seeds", "3", "--json", *SHORT)
    plan = json.loads(said.stdout)
    assert said.stderr.count("timing") == 1
    seconds = [run["seconds"] for run in plan["runs"]]
    assert len(set(seconds)) == 1
    assert plan["totals"]["seconds"] == pytest.approx(sum(seconds))
    assert plan["totals"]["unknown"] == 0


def test_a_kind_that_was_run_is_not_timed_again(world: World) -> None:
    world.run("noise")
    said = world.recbench("plan", "-m", "noise", "-d", "toy", "--seeds", "2", "--json", *SHORT)
    assert "timing" not in said.stderr
    assert json.loads(said.stdout)["runs"][1]["measured_on"] == "the same"


def test_a_fit_that_no_setting_shortens_is_foretold_from_its_progress_at_the_limit(world: World) -> None:
    """100 steps of 0.3 s are 30 s, of which 4 s are seen."""
    found = measured(world, "-m", "steady:steps=100", "--measure", "--measure-limit", "4s")["steady"]
    done = int(found["measured_on"].partition(" ")[0])
    assert 3 <= done <= 13
    assert found["measured_on"] == f"{done} of 100 of its training here; the ranking was not reached"
    assert 30 <= found["seconds"] < 45
    assert found["rank_seconds"] is None
    assert found["host_bytes"] is None


def test_a_shortened_fit_at_the_limit_is_foretold_from_all_rows_and_with_its_shared_stage_once(
    world: World,
) -> None:
    """720 targets in 180 rows are 96 steps of 16 rows in 8 epochs, of a second each; 16 rows are drawn for 8.
    By rows, 8 seconds are 90; 2 seconds of a shared stage and half a second before come once."""
    method = "paced:packed=4,shared=2,step=1"
    settings = ("--set", "train.batch=16", "--set", "train.epochs=8")
    found = measured(world, "-m", method, *settings, "--measure", "--measure-limit", "10s")["paced"]
    assert found["measured_on"].endswith("of 8 of its training here; the ranking was not reached")
    assert 90 + 2.5 < found["seconds"] < 1.2 * (90 + 2.5) + 5


def test_what_cannot_be_timed_says_why_and_does_not_stop_the_rest(world: World) -> None:
    methods = ("-m", "broken", "-m", "slow", "-m", "noise")
    found = measured(world, *methods, "--measure", "--measure-limit", "4s")
    assert found["noise"]["seconds"] > 0
    assert found["broken"]["seconds"] is None
    assert "this method does not work" in found["broken"]["why"]
    assert found["slow"]["seconds"] is None
    assert "4 seconds are too few" in found["slow"]["why"]
    assert "--measure-limit" in found["slow"]["why"]
    assert traces(world) == ["cache", "cache/split"]


def test_the_table_says_what_was_timed_and_a_larger_batch_of_the_ranker_is_ranked_whole(world: World) -> None:
    settings = ("--set", "train.batch=64", "--set", "ranker.batch=100")
    said = world.recbench("plan", "-m", "paced", "-d", "toy", *settings, *SHORT)
    assert said.returncode == 0, said.stderr
    assert "s to rank" in said.stdout
    assert "steps and 100 users here" in said.stdout
    assert "upper bounds" not in said.stdout  # it ranks itself, without exact search


def test_ctrl_c_leaves_nothing(world: World) -> None:
    command = world.command("plan", "-m", "slow", "-d", "toy", "--measure")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        for _ in range(600):
            if list(world.root.cache.glob("recbench-*/cache/fits/*/checkpoint")):
                break
            time.sleep(0.1)
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "nothing of what was timed is left" in errors
    assert traces(world) == ["cache", "cache/split"]


def test_python_measures_too(world: World) -> None:
    found = recbench.plan("noise", "toy", measure=True, measure_seconds=20, root=world.root.path)
    assert found.totals.unknown == 0
    frame = found.to_frame()
    assert frame["measured_on"].tolist() == ["its fit and 64 users here"]
    assert frame["seconds"].tolist()[0] > 0


def test_a_limit_is_a_length_of_time(world: World) -> None:
    assert seconds_of("90s") == 90
    said = world.recbench("plan", "-m", "noise", "-d", "toy", "--measure", "--measure-limit", "soon")
    assert said.returncode == 2
    assert "no length of time" in said.stderr


@pytest.mark.slow
def test_a_language_model_its_child_and_a_scorer_are_timed_on_60_users(world: World) -> None:
    words = ("--limit-users", "60", "--measure", "--measure-limit", "5m")
    found = measured(world, "-m", "popularity", "-m", "sft", "-m", "dpo", *words)
    for name in ("sft", "dpo"):
        assert found[name]["measured_on"].endswith("and 60 users here")
        assert found[name]["seconds"] > found[name]["rank_seconds"] > 0
        assert found[name]["host_bytes"] > 100 << 20
    assert found["popularity"]["seconds"] < found["sft"]["seconds"]
    assert traces(world) == ["cache", "cache/split"]
    said = world.recbench("plan", "-m", "sft", "-d", "toy", *words)
    assert "rankings timed here are upper bounds" in said.stdout
