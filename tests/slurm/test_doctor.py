"""`recbench doctor --on slurm` on a real cluster with accounting, whose nodes have GPUs, or pretend to.

    SLURM_CONF=... pytest -m slurm tests/slurm

Without a cluster these tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from recbench.doctor import slurm
from recbench.errors import MissingError
from recbench.running.slurm.queue import read_partitions

if TYPE_CHECKING:
    from tests.conftest import World

pytestmark = pytest.mark.slurm


@pytest.fixture(autouse=True)
def _queue_is_left_empty() -> Iterator[None]:
    if shutil.which("sbatch") is None:
        pytest.skip("no Slurm: sbatch is not here")
    try:
        read_partitions()
    except MissingError as error:
        pytest.skip(f"no cluster: {error.what}; SLURM_CONF names one")
    yield
    words = ["squeue", "--noheader", "--name=recbench-doctor", "--states=PENDING,RUNNING"]
    assert subprocess.run(words, capture_output=True, text=True).stdout == ""


def findings(text: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(text)}


def test_a_cluster_is_looked_at_by_a_job_on_one_of_its_nodes(world: World) -> None:
    done = world.recbench("doctor", "--on", "slurm", "--json")
    found = findings(done.stdout)
    assert done.returncode == 0, done.stdout
    for name in ("slurm", "partitions", "accounting", "preemption", "test job", "node software", "node root"):
        assert found[name]["status"] == "ok", found[name]
    assert found["node gpus"]["found"].startswith("CUDA_VISIBLE_DEVICES=")
    assert list(world.root.cache.iterdir()) == []


def test_a_job_that_does_not_start_is_cancelled_at_the_deadline(world: World) -> None:
    (one,) = slurm.job_on_a_node(world.root, options=["--hold"], backbone=None, deadline=3.0)
    assert one.status == "warning"
    assert "PENDING (JobHeldUser)" in one.found


def test_a_job_that_sbatch_refuses_says_why(world: World) -> None:
    (world.root.path / "recbench.toml").write_text('[profiles.lab]\npartition = "nowhere"\n')
    done = world.recbench("doctor", "--on", "slurm", "--json")
    assert done.returncode == 3
    assert "Invalid partition" in findings(done.stdout)["test job"]["found"]


def test_a_python_that_the_nodes_do_not_see_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/bin/python")
    (one,) = slurm.job_on_a_node(world.root, options=[], backbone=None, deadline=60.0)
    assert one.status == "missing"
    assert "FAILED" in one.found
    assert "/nowhere/bin/python: not found" in one.found
