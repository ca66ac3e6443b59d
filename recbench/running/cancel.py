"""Stopping a run, wherever it is worked on."""

from __future__ import annotations

from recbench.base.root import Root
from recbench.running import jobs
from recbench.running.jobs import JobStatus
from recbench.running.slurm import queue


def cancel(status: JobStatus, root: Root) -> bool:
    """Stop a run that is queued or running. False where it is worked on by another machine, which goes on."""
    job = status.job
    jobs.mark_cancelled(job, root)  # first, so that its end is not taken for a failure
    if status.where.startswith("job ") or job.executor == "slurm":
        queue.cancel(job.slurm.get("id", ""))
        return True
    if jobs.end_driver(job):
        return True
    job.write(root)
    return False
