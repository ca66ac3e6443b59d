"""The machine, the libraries and the code that made a result. Recorded, never hashed."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("recbench", "numpy", "torch", "transformers", "trl", "peft", "accelerate", "recbole")


def versions(*more: str) -> dict[str, str]:
    """Installed versions, read from their metadata so that nothing is imported; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code(folder: Path | None = None) -> dict[str, Any]:
    """Commit and dirty flag of the checkout that holds recbench; both None outside a checkout of it."""
    folder = Path(__file__).parent if folder is None else folder
    tracked = _output(["git", "-C", str(folder), "ls-files", "--", "."])
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"])
    if not tracked or not commit:
        return {"commit": None, "dirty": None}
    changes = _output(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    return {"commit": commit, "dirty": bool(changes)}


def hardware() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": gpus(),
    }


def gpus() -> list[str]:
    """Names of the GPUs that a child process would see."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or shutil.which("nvidia-smi") is None:
        return []
    names = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return names.splitlines() if names else []


def default_device() -> str:
    """`cuda` where a GPU and a torch that can use it are present, else `cpu`. Does not import torch."""
    torch = versions().get("torch")
    return "cuda" if torch and "+cpu" not in torch and gpus() else "cpu"


def peak_memory() -> dict[str, int | None]:
    """Bytes at the peak of this process: host, and GPU where the process has used one."""
    # ru_maxrss is in KiB on Linux and in bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    torch = sys.modules.get("torch")
    used_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "gpu_bytes": int(torch.cuda.max_memory_allocated()) if torch is not None and used_gpu else None,
    }


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _output(command: list[str]) -> str | None:
    """What a short command prints; None where it is absent or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
