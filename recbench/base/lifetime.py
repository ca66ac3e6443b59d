"""A process that shall not outlive the one that started it."""

from __future__ import annotations

import ctypes
import signal
import sys


def end_with_parent() -> None:
    """Let the kernel end this process when the one that started it is gone (Linux alone has such a call)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
