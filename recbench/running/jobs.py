"""The runs that were asked for, in files that any later shell can read: `jobs/<run id>.json`.

A record has the selection by which the run can be asked for again, and where the run was sent. How far the
run is follows from its bundle, from its lock, and from the scheduler.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from recbench.base import locks
from recbench.base.clock import now
from recbench.base.digest import is_short
from recbench.base.files import parse_json, write_text
from recbench.base.layout import run_lock
from recbench.base.root import Root
from recbench.errors import DataError
from recbench.planning.plan import Planned
from recbench.planning.resolve import Selection
from recbench.planning.resources import Resources
from recbench.results import bundle

State = Literal["complete", "failed", "running", "queued", "cancelled", "lost", "interrupted", "unknown"]
STOPPED = 143
"""Exit code of a job that was asked to stop and did not queue itself again."""
KEPT = ("RECBENCH_", "HF_HOME", "HF_HUB_OFFLINE")
"""How the names of the variables begin that a record keeps: they decide how the selection is read."""
SECRET = ("RECBENCH_MLFLOW",)
"""Variables that may hold a password. The driver of the runs logs their results, so no job needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run that was asked for."""

    run: str
    fit: str
    name: str
    selection: Selection
    resources: Resources
    executor: str
    submitted: str
    """The time, by UTC."""
    parent: str | None = None
    """The run whose fit this one needs."""
    newer_than: str | None = None
    """An older bundle does not count."""
    driver: Mapping[str, Any] = field(default_factory=dict)
    """The driver of a local run, as a lock's Owner."""
    environ: Mapping[str, str] = field(default_factory=dict)
    slurm: Mapping[str, str] = field(default_factory=dict)
    """`id` of the job and `folder` of its logs."""
    cancelled: bool = False

    @property
    def since(self) -> datetime | None:
        """The time since which a bundle counts; None: any does."""
        return None if self.newer_than is None else datetime.fromisoformat(self.newer_than)

    def write(self, root: Root) -> Path:
        path = path_of(root, self.run)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self), indent=1, sort_keys=True), mode=0o600)
        return path


def read_if_there(root: Root, run_id: str) -> Job | None:
    """None too where the file is damaged: the run is then known by its bundle and its lock alone."""
    path = path_of(root, run_id)
    try:
        return read(path) if path.exists() else None
    except DataError:
        return None


def write(
    planned: Sequence[Planned],
    resources: Mapping[str, Resources],
    root: Root,
    *,
    executor: str,
    newer_than: datetime | None = None,
) -> None:
    """Write a record of each unfinished run. A run that was sent to a scheduler keeps its number there."""
    environ = kept_environment()
    since = None if newer_than is None else newer_than.isoformat()
    for run in planned:
        job = Job(
            run=run.spec.id,
            fit=run.spec.fit.id,
            name=run.resolved.name,
            selection=run.resolved.selection,
            resources=resources[run.spec.id],
            executor=executor,
            submitted=now(),
            parent=None if run.parent is None else run.parent.spec.id,
            newer_than=since,
            driver=asdict(locks.this_process(executor)) if executor == "local" else {},
            environ=environ,
        )
        earlier = read_if_there(root, job.run)
        if earlier is not None and earlier.slurm:
            since_then = job.newer_than or earlier.newer_than
            job = replace(job, slurm=earlier.slurm, submitted=earlier.submitted, newer_than=since_then)
        waits = earlier is not None and not is_finished(earlier, root)  # an interrupted --force, say
        if waits or not is_finished(job, root):
            job.write(root)


def kept_environment() -> dict[str, str]:
    """The variables of this process that a record keeps."""
    return {name: text for name, text in os.environ.items() if name.startswith(KEPT) and name not in SECRET}


def read(path: Path) -> Job:
    """DataError names a file that cannot be read or is no record of this version."""
    try:
        record: dict[str, Any] = parse_json(path.read_bytes())
        record["selection"] = Selection(**record["selection"])
        record["resources"] = Resources(**record["resources"])
        job = Job(**record)
        _check(job, path.stem)
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not the record of a run", why=f"{type(error).__name__}: {error}", fix=f"rm {path}"
        ) from None
    return job


def _check(job: Job, name: str) -> None:
    """ValueError or TypeError for a record by which no command could go on."""
    if job.run != name or not (is_short(job.run) and is_short(job.fit)):
        raise ValueError(f"it is not the record of the run {name}")
    for time in filter(None, (job.submitted, job.newer_than)):
        if datetime.fromisoformat(time).tzinfo is None:
            raise ValueError(f"its time '{time}' is of no zone")
    if job.driver and not isinstance(locks.Owner(**job.driver).pid, int):
        raise ValueError("its driver is no process")
    texts = [job.name, job.executor, *job.environ.values(), *job.slurm.values(), job.selection.method]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("it has values that are no text")


def find(root: Root, left_out: Callable[[str], None] | None = None) -> list[Job]:
    """All records, oldest first. A file that is no record is reported to `left_out` and passed over."""
    jobs = []
    for path in folder(root).glob("*.json"):
        try:
            jobs.append(read(path))
        except DataError as error:
            if left_out is not None:
                left_out(f"{error.what} ({error.why}); try: {error.fix}")
    return sorted(jobs, key=lambda job: (job.submitted, job.run))


def folder(root: Root) -> Path:
    return root.path / "jobs"


def path_of(root: Root, run_id: str) -> Path:
    return folder(root) / f"{run_id}.json"


def is_finished(job: Job, root: Root) -> bool:
    """Whether the job's bundle exists and is complete."""
    run = root.runs / job.run
    if bundle.status(run) != "complete":
        return False
    return job.since is None or bundle.finished_at(run) >= job.since


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """How far a job is."""

    job: Job
    state: State
    where: str = ""
    """The machine and process, or the scheduler's number."""
    failure: str = ""
    """The class of failure."""
    message: str = ""


def status_of(
    job: Job, root: Root, scheduler: Mapping[str, str] | None = None, *, mine: bool = False
) -> JobStatus:
    """How far a job is. `scheduler` has Slurm's state by job id, None where Slurm does not answer. `mine`:
    the caller itself holds the run's lock.

    `lost`: the job ended without a bundle. `interrupted`: no process works on it; the same command continues.
    """
    run = root.runs / job.run
    owner = None if mine else locks.owner(run_lock(root, job.run))
    if is_finished(job, root):
        return JobStatus(job=job, state="complete")
    if owner is not None:
        return JobStatus(job=job, state="running", where=f"{owner.machine} {owner.pid}")
    if job.cancelled:
        return JobStatus(job=job, state="cancelled")
    if has_failed(job, root):
        reason = bundle.reason(run)
        return JobStatus(
            job=job, state="failed", failure=reason.get("class", ""), message=reason.get("message", "")
        )
    if "id" in job.slurm:
        queued = _in_queue(job, scheduler)
        if queued.state != "lost" or job.executor == "slurm":
            return queued
    if job.driver and locks.Owner(**job.driver).is_alive():
        driver = locks.Owner(**job.driver)
        return JobStatus(job=job, state="queued", where=f"{driver.machine} {driver.pid}")
    return JobStatus(job=job, state="interrupted")


def has_failed(job: Job, root: Root) -> bool:
    """Whether the run has failed since it was asked for."""
    run = root.runs / job.run
    return bundle.status(run) == "failed" and bundle.finished_at(run) >= datetime.fromisoformat(job.submitted)


def has_ended(run_id: str, root: Root) -> bool:
    """Whether a run has the bundle that was asked for, complete or failed; without a record, any bundle."""
    job = read_if_there(root, run_id)
    if job is None:
        return bundle.status(root.runs / run_id) is not None
    return is_finished(job, root) or has_failed(job, root)


def _in_queue(job: Job, scheduler: Mapping[str, str] | None) -> JobStatus:
    number = job.slurm["id"]
    where = f"job {number}"
    if scheduler is None:
        return JobStatus(job=job, state="unknown", where=where, message="Slurm does not answer")
    state = scheduler.get(number, "")
    if state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED"):
        return JobStatus(job=job, state="queued", where=where)
    if state in ("RUNNING", "COMPLETING", "CONFIGURING", "STAGE_OUT"):
        return JobStatus(job=job, state="running", where=where)
    return JobStatus(job=job, state="lost", where=where, message=state)


def mark_cancelled(job: Job, root: Root) -> None:
    replace(job, cancelled=True).write(root)


def end_driver(job: Job) -> bool:
    """Ask a run's driver to end, with all its runs, as Ctrl-C does. False unless it is on this machine."""
    driver = locks.Owner(**job.driver) if job.driver else None
    if driver is None or not driver.is_alive():
        return False
    os.kill(driver.pid, signal.SIGTERM)
    return True
