"""Processes that end with their parent."""

from __future__ import annotations

import ctypes
import signal
import sys


def end_with_parent() -> None:
    """Let the kernel end this process when its parent is gone (Linux only)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
