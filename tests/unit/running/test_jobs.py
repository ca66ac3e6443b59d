"""How far a job is, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from recbench.base import locks
from recbench.base.layout import run_lock
from recbench.base.root import Root
from recbench.running import cancel, jobs
from recbench.running.cleanup import removable
from recbench.running.jobs import Job, JobStatus
from tests.unit.running.conftest import Commands


def test_a_record_is_read_as_it_was_written(job: Job, root: Root) -> None:
    assert jobs.find(root) == [job]


@pytest.mark.parametrize(
    ("answer", "state"),
    [("PENDING", "queued"), ("RUNNING", "running"), ("FAILED 0:9", "lost"), ("", "lost")],
)
def test_the_state_of_a_job_follows_from_the_scheduler(job: Job, root: Root, answer: str, state: str) -> None:
    status = jobs.status_of(job, root, {"7": answer})
    assert (status.state, status.where) == (state, "job 7")


def test_a_scheduler_that_does_not_answer_leaves_the_state_unknown(job: Job, root: Root) -> None:
    assert jobs.status_of(job, root, None).state == "unknown"


def test_whoever_holds_the_lock_of_a_run_works_on_it(local: Job, root: Root) -> None:
    with locks.hold(run_lock(root, local.run), "running"):
        assert jobs.status_of(local, root).state == "running"
        assert jobs.status_of(local, root, mine=True).state == "interrupted"


@pytest.fixture
def driven(local: Job, root: Root) -> Callable[[subprocess.Popen[bytes]], Job]:
    """The record with a process as its driver."""

    def by(process: subprocess.Popen[bytes]) -> Job:
        started = psutil.Process(process.pid).create_time()
        owner = replace(locks.this_process("local"), pid=process.pid, started=started)
        job = replace(local, driver=asdict(owner))
        job.write(root)
        return job

    return by


def test_a_driver_on_this_machine_is_asked_to_end(
    root: Root, driven: Callable[[subprocess.Popen[bytes]], Job]
) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    job = driven(process)
    status = jobs.status_of(job, root)
    assert status.state == "queued"
    assert cancel.cancel(status, root)
    assert process.wait(30) == -signal.SIGTERM
    assert jobs.read(jobs.path_of(root, job.run)).cancelled
    assert not jobs.end_driver(job)  # it has ended


def test_a_driver_on_another_machine_is_left_alone_and_the_job_is_not_marked(local: Job, root: Root) -> None:
    elsewhere = locks.Owner(host="elsewhere/1", pid=1, started=0.0, what="local")
    job = replace(local, driver=asdict(elsewhere))
    assert not cancel.cancel(JobStatus(job=job, state="running", where="elsewhere 1"), root)
    assert not jobs.read(jobs.path_of(root, job.run)).cancelled


def test_a_job_in_the_queue_is_cancelled_there(
    job: Job, root: Root, commands: Commands, tmp_path: Path
) -> None:
    commands({"scancel": f"echo $@ > {tmp_path}/cancelled"})
    assert cancel.cancel(JobStatus(job=job, state="queued", where="job 7"), root)
    assert (tmp_path / "cancelled").read_text() == "7\n"
    assert jobs.status_of(jobs.read(jobs.path_of(root, job.run)), root).state == "cancelled"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": "x"}', "[" * 100_000, "\x00"])
def test_a_file_that_is_no_record_is_named_and_the_others_stay(job: Job, root: Root, content: str) -> None:
    bad = jobs.path_of(root, "0123456789ab")
    bad.write_text(content)
    said: list[str] = []
    assert jobs.find(root, said.append) == [job]
    assert len(said) == 1
    assert f"rm {bad}" in said[0]
    assert jobs.read_if_there(root, "0123456789ab") is None


@pytest.mark.parametrize(
    "change",
    [
        {"submitted": "yesterday"},
        {"submitted": "2026-01-01T00:00:00"},  # of no zone
        {"newer_than": "soon"},
        {"fit": "../../x"},
        {"driver": {"pid": 1}},
        {"driver": {"host": "a", "pid": "1", "started": 0, "what": ""}},
        {"name": 3},
        {"environ": {"RECBENCH_ROOT": 3}},
        {"slurm": []},
        {"selection": {"method": 3, "dataset": "toy"}},
    ],
)
def test_a_foreign_record_by_which_no_command_could_go_on_is_named(
    job: Job, root: Root, change: dict[str, object]
) -> None:
    bad = jobs.path_of(root, "0123456789ab")
    record = json.loads(jobs.path_of(root, job.run).read_text()) | {"run": "0123456789ab"} | change
    bad.write_text(json.dumps(record))
    said: list[str] = []
    assert jobs.find(root, said.append) == [job]
    assert f"rm {bad}" in said[0]


def test_a_record_is_for_its_owner_alone_and_holds_no_store(
    job: Job, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = job.write(root)
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("RECBENCH_MLFLOW", "http://me:secret@host")
    assert "RECBENCH_MLFLOW" not in jobs.kept_environment()


def test_leftovers_of_job_files_and_boards_may_be_removed(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the usual one has folders of other tests
    old = [
        root.path / "jobs" / ".0123456789ab.json.1f.partial",
        root.path / "leaderboards" / "x" / ".built.2.partial",
    ]
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        os.utime(path, (0, 0))
    assert {item.path for item in removable(root)} == set(old)
