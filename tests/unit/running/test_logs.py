"""Which files are the logs of a run, and what is read of them while it goes on."""

from __future__ import annotations

from pathlib import Path

from recbench.base import locks
from recbench.base.layout import fit_folder, run_lock
from recbench.base.root import Root
from recbench.running import logs
from recbench.running.jobs import Job


def leave(folder: Path, text: str, name: str = "log.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_a_run_without_a_log_yields_nothing(job: Job, root: Root) -> None:
    assert list(logs.read(job, root)) == []


def test_the_log_is_that_of_the_fit_then_of_the_staging_folder_then_of_the_bundle(
    job: Job, root: Root
) -> None:
    for folder in (fit_folder(root.cache, job.fit), root.runs / f".{job.run}.partial", root.runs / job.run):
        path = leave(folder, "so far\n")
        assert logs.files(job, root) == [path]


def test_the_log_of_the_slurm_job_comes_first(job: Job, root: Root) -> None:
    leave(root.path / "jobs" / "slurm", "submitted\n", name="7_0_log.out")
    leave(root.runs / job.run, "fitted\n")
    assert list(logs.read(job, root)) == ["submitted\n", "fitted\n"]


def test_following_yields_what_is_added_until_the_run_is_given_up(local: Job, root: Root) -> None:
    path = leave(fit_folder(root.cache, local.fit), "one\n")
    with locks.hold(run_lock(root, local.run), "running"):
        lines = logs.read(local, root, follow=True)
        assert next(lines) == "one\n"
        path.write_text("one\ntwo\n")
        assert next(lines) == "two\n"
    assert list(lines) == []
