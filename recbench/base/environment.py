"""The machine, the libraries and the code that made a result. Recorded, never hashed."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recbench.errors import MissingError, UsageError

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
    folder = Path(__file__).parents[1] if folder is None else folder
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
    """Names of the GPUs that CUDA_VISIBLE_DEVICES leaves to this process and its children; all where it is
    unset. A slice of a GPU is named by its identifier."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown in ("", "-1") or shutil.which("nvidia-smi") is None:
        return []
    lines = (_output(["nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"]) or "").splitlines()
    installed = [(uuid, name.strip()) for uuid, _, name in (line.partition(",") for line in lines)]
    if shown is None:
        return [name for _, name in installed]
    found = []
    for entry in (text.strip() for text in shown.split(",")):
        if entry.isdigit() and int(entry) < len(installed):
            found.append(installed[int(entry)][1])
        elif entry.startswith("GPU-"):
            found += [name for uuid, name in installed if uuid.startswith(entry)][:1]
        elif entry.startswith("MIG-"):
            found.append(entry)
        else:  # as CUDA does: what follows an entry that names nothing is not seen
            break
    return found


def default_device() -> str:
    """`cuda` where a GPU and a torch that can use it are present, else `cpu`. Does not import torch."""
    torch = versions().get("torch")
    return "cuda" if torch and "+cpu" not in torch and gpus() else "cpu"


def only_device(device: str, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The device that a worker is told, and the variables under which it sees no other GPU.

    A training loop that sees several GPUs would spread over them. `cuda:N` is the N-th that `environ` shows,
    and `cuda` the first; a worker knows it as `cuda`. UsageError for a device that is neither `cpu`,
    `cuda`, `cuda:N` nor `mps`, MissingError where `environ` shows fewer GPUs.
    """
    kind, _, number = device.partition(":")
    fix = "RECBENCH_DEVICE=cuda, or cpu, or cuda:1"
    if device == "cpu":
        return device, {"CUDA_VISIBLE_DEVICES": ""}
    if device == "mps":
        return device, {}
    if kind != "cuda" or not (number.isdigit() or device == "cuda"):
        raise UsageError(f"there is no kind of device '{device}'", fix=fix)
    index = int(number or 0)
    shown = environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return "cuda", {"CUDA_VISIBLE_DEVICES": str(index)}
    entries = [entry for entry in map(str.strip, shown.split(",")) if entry not in ("", "-1")]
    if index >= len(entries):
        raise MissingError(f"there is no device '{device}'", why=f"CUDA_VISIBLE_DEVICES={shown}", fix=fix)
    return "cuda", {"CUDA_VISIBLE_DEVICES": entries[index]}


_MEMORY_OF = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def peak_memory() -> dict[str, int | None]:
    """Bytes at the peak of this process or of its largest finished child, whichever is more; GPU memory where
    this process has used one."""
    # ru_maxrss is in KiB on Linux and in bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    torch = sys.modules.get("torch")
    used_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "host_bytes": max(resource.getrusage(who).ru_maxrss for who in _MEMORY_OF) * unit,
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
