"""What was asked for and how far it is, in files that any later shell can read: `jobs/<run id>.json`.

A record holds the words by which the run can be asked for again, and where it was sent. How far it is
follows from its bundle, from the lock that whoever works on it holds, and from the scheduler.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from recbench import bundle, locks
from recbench.files import write_text
from recbench.plan import Planned
from recbench.resolve import Selection
from recbench.resources import Resources
from recbench.root import Root
from recbench.run import run_lock

State = Literal["complete", "failed", "running", "queued", "cancelled", "lost", "interrupted"]
KEPT = ("RECBENCH_", "MLFLOW_TRACKING_URI", "HF_HOME", "HF_HUB_OFFLINE")
"""The variables that a record keeps, by how their names begin: they decide what the words mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run that was asked for."""

    run: str
    fit: str
    name: str
    selection: Selection
    resources: Resources
    executor: str
    submitted: str
    """When, by UTC."""
    parent: str | None = None
    """The run whose fit this one needs."""
    newer_than: str | None = None
    """A bundle that is older does not count."""
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
        write_text(path, json.dumps(asdict(self), indent=1, sort_keys=True))
        return path


def read_if_there(root: Root, run_id: str) -> Job | None:
    path = path_of(root, run_id)
    return read(path) if path.exists() else None


def write(
    planned: Sequence[Planned],
    resources: Mapping[str, Resources],
    root: Root,
    *,
    executor: str,
    newer_than: datetime | None = None,
) -> None:
    """A record of each run that is not finished. One that was sent to a scheduler keeps its number there."""
    environ = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    since = None if newer_than is None else newer_than.isoformat()
    for one in planned:
        job = Job(
            run=one.spec.id,
            fit=one.spec.fit.id,
            name=one.resolved.name,
            selection=one.resolved.selection,
            resources=resources[one.spec.id],
            executor=executor,
            submitted=now(),
            parent=None if one.parent is None else one.parent.spec.id,
            newer_than=since,
            environ=environ,
        )
        earlier = read_if_there(root, job.run)
        if earlier is not None and earlier.slurm and executor == earlier.executor:
            job = replace(job, slurm=earlier.slurm, submitted=earlier.submitted)
        waits = earlier is not None and not is_finished(earlier, root)  # an interrupted --force, say
        if waits or not is_finished(job, root):
            job.write(root)


def read(path: Path) -> Job:
    record: dict[str, Any] = json.loads(path.read_text())
    record["selection"] = Selection(**record["selection"])
    record["resources"] = Resources(**record["resources"])
    return Job(**record)


def find(root: Root) -> list[Job]:
    """All records, the oldest first."""
    return sorted(map(read, folder(root).glob("*.json")), key=lambda job: (job.submitted, job.run))


def folder(root: Root) -> Path:
    return root.path / "jobs"


def path_of(root: Root, run_id: str) -> Path:
    return folder(root) / f"{run_id}.json"


def is_finished(job: Job, root: Root) -> bool:
    """Whether the bundle that the job was to make is there, and complete."""
    run = root.runs / job.run
    if bundle.status(run) != "complete":
        return False
    return job.since is None or bundle.finished_at(run) >= job.since


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a job is."""

    job: Job
    state: State
    where: str = ""
    """The machine and process, or the scheduler's number."""
    failure: str = ""
    """The class of failure."""
    message: str = ""


def standing(job: Job, root: Root, scheduler: Mapping[str, str] | None = None) -> Standing:
    """How far a job is; `scheduler` has Slurm's state by job id.

    `lost`: it ended without a bundle. `interrupted`: nobody works on it, and the same command continues.
    """
    run = root.runs / job.run
    owner = locks.owner(run_lock(root, job.run))
    if is_finished(job, root):
        return Standing(job=job, state="complete")
    if owner is not None:
        return Standing(job=job, state="running", where=f"{owner.machine} {owner.pid}")
    if bundle.status(run) == "failed" and bundle.finished_at(run) >= datetime.fromisoformat(job.submitted):
        reason = bundle.reason(run)
        return Standing(
            job=job, state="failed", failure=reason.get("class", ""), message=reason.get("message", "")
        )
    if job.cancelled:
        return Standing(job=job, state="cancelled")
    if job.executor != "slurm":
        return Standing(job=job, state="interrupted")
    number = job.slurm.get("id", "")
    state = (scheduler or {}).get(number, "")
    known: dict[str, State] = {"PENDING": "queued", "REQUEUED": "queued", "SUSPENDED": "queued"}
    if state in ("RUNNING", "COMPLETING", "CONFIGURING"):
        return Standing(job=job, state="running", where=f"job {number}")
    if state in known:
        return Standing(job=job, state=known[state], where=f"job {number}")
    return Standing(job=job, state="lost", where=f"job {number}", message=state)


def cancel(job: Job, root: Root) -> None:
    replace(job, cancelled=True).write(root)


def now() -> str:
    return datetime.now(UTC).isoformat()
