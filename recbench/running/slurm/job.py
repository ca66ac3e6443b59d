"""The work of a Slurm job: one run, from the record at a path."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from recbench.base import environment
from recbench.base.progress import Silent
from recbench.base.root import Root, discover
from recbench.errors import DigestError
from recbench.method import Stopped
from recbench.planning import plan
from recbench.running import jobs
from recbench.running.one_run import Driver, run_one
from recbench.running.workers import Slot, Workers

GRACE_SECONDS = 90.0
"""How long workers may take to save their state after a signal; Slurm may allow less."""


class SlurmJob:
    """Called by submitit on the first node of the job; submitit calls `checkpoint` at a signal."""

    def __init__(self, record: str) -> None:
        self.record = record
        self._workers: Workers | None = None

    def __call__(self) -> str:
        job = jobs.read(Path(self.record))
        os.environ.update(job.environ)
        root = discover(Path(self.record).parent.parent)
        number = os.environ.get("SLURM_JOB_ID", "0")
        stop = Path(self.record).with_suffix(f".{number}.stop")
        stop.unlink(missing_ok=True)
        self._workers = Workers(stop=stop)
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        run = planned(job, root)
        driver = Driver.of(
            root,
            Printing(),
            offline=True,
            distributions=run.resolved.distributions,
            workers=self._workers,
            newer_than=job.since,
        )
        try:
            return run_one(run, driver, slot(job, root, os.environ)).status
        except (Stopped, KeyboardInterrupt):
            sys.exit(jobs.STOPPED)  # not as a job that succeeded
        finally:
            stop.unlink(missing_ok=True)

    def checkpoint(self) -> Any:
        """Called inside the handler of Slurm's signal: let the workers save their state, then continue in a
        job of the same kind."""
        from submitit.helpers import DelayedSubmission

        if self._workers is not None:
            self._ask_to_stop()
            self._workers.wait(GRACE_SECONDS)
        return DelayedSubmission(SlurmJob(self.record))

    def _ask_to_stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        if self._workers is not None and self._workers.stop is not None:
            self._workers.stop.touch()


class Printing(Silent):
    """A listener that prints sentences to the job's log."""

    def say(self, text: str) -> None:
        print(text, flush=True)


def planned(job: jobs.Job, root: Root) -> plan.Planned:
    """The run of the record. DigestError where data or code have changed since, so that it would be another
    run."""
    *_, run = plan.plan([job.selection], root, offline=True)
    if run.spec.id != job.run:
        raise DigestError(
            f"{job.name} was to be run {job.run} and is now {run.spec.id}",
            why="the data, the code or an installed method has changed since it was submitted",
            fix="recbench retry --failed",
        )
    return run


def slot(job: jobs.Job, root: Root, environ: Mapping[str, str]) -> Slot:
    """The devices, threads and processes that Slurm gave this job."""
    device = root.setting("device") or environment.default_device()
    device, variables = environment.only_device(device, environ)
    if device == "cuda" and "CUDA_VISIBLE_DEVICES" in environ:
        variables = {"CUDA_VISIBLE_DEVICES": environ["CUDA_VISIBLE_DEVICES"]}
    threads = int(environ.get("SLURM_CPUS_PER_TASK") or root.threads)
    return Slot(
        device=device,
        variables=variables,
        threads=threads,
        processes=job.resources.gpus,
        nodes=job.resources.nodes,
    )
