"""A worker never outlives its driver, not even a driver that is killed while the worker starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from recbench.base.lifetime import PARENT, as_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal is Linux's")

WORKER = "from recbench.base.lifetime import end_with_parent; end_with_parent(); print('works', flush=True)"


def test_a_process_whose_parent_lives_goes_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKER], env=as_parent(os.environ), capture_output=True, text=True, check=True
    )
    assert done.stdout == "works\n"


def test_a_process_whose_parent_was_gone_before_it_asked_ends_at_once() -> None:
    """The parent dies between the start of its child and the child's request to the kernel."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        env={**os.environ, PARENT: str(gone.pid)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == ""


def test_a_process_ends_when_its_parent_is_killed_later() -> None:
    driver = (
        "import os, subprocess, sys, time\n"
        "from recbench.base.lifetime import as_parent\n"
        f"worker = {WORKER + '; import time; time.sleep(60)'!r}\n"
        "child = subprocess.Popen([sys.executable, '-c', worker], env=as_parent(os.environ),\n"
        "                         stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    until = time.monotonic() + 20
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.05)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
