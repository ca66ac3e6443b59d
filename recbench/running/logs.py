"""The logs of a run: what its workers wrote, and the log of its Slurm job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from recbench.base.layout import fit_folder
from recbench.base.root import Root
from recbench.results import bundle
from recbench.running import jobs
from recbench.running.jobs import Job

FOLLOW_SECONDS = 0.5
LOG = "log.txt"


def read(job: Job, root: Root, *, follow: bool = False) -> Iterator[str]:
    """The logs one after another; with `follow`, then what is added to any of them until the run ends."""
    shown: dict[Path, int] = {}
    while True:
        for path in files(job, root):
            text = path.read_text(encoding="utf-8", errors="replace")
            if len(text) > shown.get(path, 0):
                yield text[shown.get(path, 0) :]
                shown[path] = len(text)
        if not follow or jobs.status_of(job, root).state not in ("running", "queued"):
            return
        time.sleep(FOLLOW_SECONDS)


def files(job: Job, root: Root) -> list[Path]:
    """The log of the Slurm job, and the workers': in the bundle, or before that where the run is so far."""
    workers = (root.runs / job.run, bundle.staging_of(root.runs, job.run), fit_folder(root.cache, job.fit))
    found = [Path(job.slurm["folder"]) / f"{job.slurm['id']}_0_log.out"] if "folder" in job.slurm else []
    found += [folder / LOG for folder in workers if (folder / LOG).exists()][:1]
    return [path for path in found if path.exists()]
