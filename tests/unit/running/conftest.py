"""A root with the record of one run that was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recbench.base.root import Root, discover
from recbench.planning.resolve import Selection
from recbench.planning.resources import Resources
from recbench.running.jobs import Job

RUN, FIT = "aaaaaaaaaaaa", "ffffffffffff"
Commands = Callable[[Mapping[str, str]], None]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "recbench.toml").touch()
    return discover(tmp_path)


@pytest.fixture
def job(root: Root) -> Job:
    """Asked for an hour ago, and sent to Slurm as job 7."""
    job = Job(
        run=RUN,
        fit=FIT,
        name="noise on toy seed 0",
        selection=Selection(method="noise", dataset="toy"),
        resources=Resources(),
        executor="slurm",
        submitted=(datetime.now(UTC) - timedelta(hours=1)).isoformat(),
        slurm={"id": "7", "folder": str(root.path / "jobs" / "slurm")},
    )
    job.write(root)
    return job


@pytest.fixture
def local(job: Job, root: Root) -> Job:
    """The same run, taken on by a process of this machine."""
    here = replace(job, executor="local", slurm={})
    here.write(root)
    return here


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Makes programs that come first on the PATH: a shell script for each name."""

    def install(scripts: Mapping[str, str]) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return install
