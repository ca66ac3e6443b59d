"""Processes that end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

PARENT = "RECBENCH_PARENT"
"""The variable by which a process tells the processes that it starts who their parent is."""


def as_parent(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for children of this process that call `end_with_parent`."""
    return {**environ, PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Let the kernel end this process when its parent is gone (Linux only).

    A parent that was killed before the kernel was asked is gone already: this process then ends at once. It
    knows by the variable PARENT, which a parent on another machine does not set.
    """
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    parent = os.environ.get(PARENT)
    if parent and os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGKILL)
