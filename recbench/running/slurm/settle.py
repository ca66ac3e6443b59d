"""Runs whose Slurm jobs ended without a bundle: each gets one that says why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from recbench.base import locks
from recbench.base.layout import run_lock
from recbench.base.progress import Silent
from recbench.base.root import Root
from recbench.errors import RecbenchError
from recbench.planning import plan
from recbench.planning.plan import Planned
from recbench.running import jobs
from recbench.running.jobs import STOPPED, Job, JobStatus
from recbench.running.one_run import Driver, fail
from recbench.running.slurm.queue import statuses

POLL_SECONDS = 3.0
SILENT_SECONDS = 120.0
"""How long the scheduler may not know a job, while nothing works on its run, before the job is lost."""
SETTLE_SECONDS = 30.0
"""How long to wait after the scheduler says that a job has ended, before a run without a bundle gets one."""
LOOK_AGAIN_SECONDS = 3.0


def wait(planned: Sequence[Planned], driver: Driver) -> None:
    """Wait until each run has a bundle or is cancelled, and settle runs whose jobs ended without a bundle."""
    open_runs = {run.spec.id: run for run in planned}
    told: dict[str, str] = {}
    lost_since: dict[str, float] = {}
    while open_runs:
        records = [jobs.read(jobs.path_of(driver.root, run)) for run in open_runs]
        for status in statuses(records, driver.root):
            run = status.job.run
            if status.state == "lost":
                # accounting lags behind, as a file system may with a bundle that was written elsewhere
                since = lost_since.setdefault(run, time.monotonic())
                if time.monotonic() - since < (SETTLE_SECONDS if status.message else SILENT_SECONDS):
                    continue
                status = settle(status, open_runs[run], driver)
            else:
                lost_since.pop(run, None)
            if told.get(run) != status.state:
                told[run] = status.state
                failure = f" ({status.failure}): {status.message}" if status.state == "failed" else ""
                driver.listener.say(f"{run}  {status.job.name}: {status.state}{failure}")
            if status.state in ("complete", "failed", "cancelled"):
                del open_runs[run]
        if open_runs:
            time.sleep(POLL_SECONDS)


def settled(records: Sequence[Job], root: Root, *, look_again: float = LOOK_AGAIN_SECONDS) -> list[JobStatus]:
    """How far each job is, for a later shell: a run whose job ended without a bundle gets one first."""
    now = statuses(records, root)
    lost = [status.job for status in now if status.state == "lost" and _is_old(status.job)]
    if not lost:
        return now
    # look again: a file system may show a bundle from elsewhere later than the scheduler shows its job's end
    time.sleep(look_again)
    after = {
        status.job.run: _settled_later(status, root)
        for status in statuses(lost, root)
        if status.state == "lost"
    }
    return [after.get(status.job.run, status) for status in now]


def _settled_later(lost: JobStatus, root: Root) -> JobStatus:
    """The status after settling; still lost where the run can no longer be planned."""
    with suppress(RecbenchError):  # its data or its method is no longer here
        *_, planned = plan.plan([lost.job.selection], root, offline=True)
        if planned.spec.id == lost.job.run:  # else data or code changed, and it is another run by now
            driver = Driver.of(root, Silent(), distributions=planned.resolved.distributions)
            return settle(lost, planned, driver)
    return lost


def _is_old(job: Job) -> bool:
    age = datetime.now(UTC) - datetime.fromisoformat(job.submitted)
    return age.total_seconds() > SETTLE_SECONDS


def settle(lost: JobStatus, run: Planned, driver: Driver) -> JobStatus:
    """Write the bundle of a run whose job ended without one, unless it has one by now."""
    with locks.hold(run_lock(driver.root, run.spec.id), "settling"):
        job = jobs.read(jobs.path_of(driver.root, run.spec.id))
        current = jobs.status_of(job, driver.root, mine=True)
        if current.state in ("complete", "failed", "cancelled") or job.slurm != lost.job.slurm:
            return current
        failure, why = class_of(lost.message)
        number = lost.job.slurm.get("id", "")
        fail(run, driver, {"class": failure, "message": f"Slurm job {number} ended without a result: {why}"})
    return jobs.status_of(job, driver.root)


def class_of(state: str) -> tuple[str, str]:
    """The class of failure that follows from Slurm's state and exit code (`FAILED 0:9`), and why."""
    name, _, code = state.partition(" ")
    exit_code, _, by_signal = code.partition(":")
    if name == "OUT_OF_MEMORY" or exit_code == "137":
        return "oom", state
    if name in ("TIMEOUT", "DEADLINE"):
        return "timeout", state
    if name == "PREEMPTED" or exit_code == str(STOPPED):
        return "preempted", state
    if "9" in (exit_code, by_signal):
        return "harness", f"{state}, killed from outside"
    return "harness", state or "the scheduler no longer knows it"
