"""What Slurm says of a job, and the bundle that a run gets whose job ended without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from recbench.base.layout import run_lock
from recbench.planning.resources import Resources
from recbench.results import bundle
from recbench.running import jobs
from recbench.running.slurm import settle
from recbench.running.slurm.queue import read_partitions, read_states

if TYPE_CHECKING:
    from tests.conftest import World
    from tests.unit.running.conftest import Commands

PENDING = 'echo "7|PENDING"'
KILLED = {"squeue": "", "sacct": 'echo "7|FAILED|0:9"', "scontrol": "exit 1"}


def test_the_queue_has_the_last_word_and_accounting_the_next(commands: Commands) -> None:
    commands({"squeue": PENDING, "sacct": 'echo "8|CANCELLED by 1|0:15"'})
    assert read_states(["7", "8"]) == {"7": "PENDING", "8": "CANCELLED 0:15"}


def test_the_controller_is_asked_where_there_is_no_accounting(commands: Commands) -> None:
    commands({"squeue": "", "sacct": "exit 1", "scontrol": 'echo "JobState=TIMEOUT ExitCode=0:0"'})
    assert read_states(["7"]) == {"7": "TIMEOUT"}


def test_a_controller_that_does_not_answer_says_nothing_of_any_job(commands: Commands) -> None:
    commands({"squeue": "exit 1"})
    assert read_states(["7"]) is None
    assert read_states([]) == {}


def test_a_partition_has_the_gpus_of_its_largest_node(commands: Commands) -> None:
    commands({"sinfo": 'printf "gpu*|gpu:a100:2|8:00:00\\ngpu*|gpu:a100:4(S:0-1),shard:8|8:00:00\\n"'})
    (partition,) = read_partitions().values()
    assert (partition.name, partition.gpus, partition.minutes, partition.default) == ("gpu", 4, 480, True)


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        ("OUT_OF_MEMORY", "oom"),
        ("FAILED 137:0", "oom"),
        ("TIMEOUT", "timeout"),
        ("PREEMPTED", "preempted"),
        ("FAILED 143:0", "preempted"),
        ("FAILED 0:9", "harness"),
        ("", "harness"),
    ],
)
def test_the_class_of_failure_follows_from_state_and_exit_code(state: str, failure: str) -> None:
    assert settle.class_of(state)[0] == failure


def sent(world: World, *, minutes_ago: float) -> jobs.Job:
    """A run that was sent to Slurm as job 7."""
    (planned,) = world.plan("noise")
    submitted = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    job = jobs.Job(
        run=planned.spec.id,
        fit=planned.spec.fit.id,
        name=planned.name,
        selection=planned.resolved.selection,
        resources=Resources(),
        executor="slurm",
        submitted=submitted.isoformat(),
        slurm={"id": "7", "folder": str(world.root.path / "jobs" / "slurm")},
    )
    job.write(world.root)
    return job


def test_a_job_that_ended_without_a_bundle_is_given_one(world: World, commands: Commands) -> None:
    commands(KILLED)
    (status,) = settle.settled([sent(world, minutes_ago=10)], world.root, look_again=0.0)
    assert (status.state, status.failure) == ("failed", "harness")
    failed = bundle.load(world.root.runs / status.job.run)
    assert failed.reason is not None
    assert failed.reason["message"] == ("Slurm job 7 ended without a result: FAILED 0:9, killed from outside")
    assert run_lock(world.root, status.job.run).exists()


def test_a_job_that_has_just_been_sent_is_left_alone(world: World, commands: Commands) -> None:
    commands(KILLED)
    (status,) = settle.settled([sent(world, minutes_ago=0)], world.root, look_again=0.0)
    assert status.state == "lost"
    assert bundle.find(world.root.runs) == []


def test_a_run_that_would_be_another_by_now_stays_lost(world: World, commands: Commands) -> None:
    commands(KILLED)
    job = replace(sent(world, minutes_ago=10), run="aaaaaaaaaaaa")
    job.write(world.root)
    (status,) = settle.settled([job], world.root, look_again=0.0)
    assert status.state == "lost"
    assert bundle.find(world.root.runs) == []
