"""The machine, the libraries and the code that made a result: recorded, never hashed."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from recbench.errors import MissingError, UsageError

DISTRIBUTION = "recbench-llm"
"""The name under which recbench is installed and declared as a dependency."""
FORMER = "recbench"
"""Its name before, which an editable install of that time keeps until it is installed again."""
PACKAGES = ("numpy", "torch", "transformers", "trl", "peft", "accelerate", "recbole")


def own_distribution() -> Distribution:
    """The installed recbench. MissingError where only its files are here."""
    for name in (DISTRIBUTION, FORMER):
        try:
            return distribution(name)
        except PackageNotFoundError:
            continue
    raise MissingError(
        "recbench is not installed",
        why=f"there is no package {DISTRIBUTION}; its files alone have neither version nor methods",
        fix="pip install -e . in its checkout",
    )


def own_version() -> str:
    """The version of the installed recbench. MissingError as of `own_distribution`."""
    return own_distribution().version


def install(extra: str = "") -> str:
    """The command that installs recbench, with the packages of an extra."""
    return f'pip install "{DISTRIBUTION}[{extra}]"' if extra else f"pip install {DISTRIBUTION}"


def versions(*more: str) -> dict[str, str]:
    """Versions of recbench and of installed packages, read from their metadata: nothing is imported."""
    installed = {"python": platform.python_version(), "recbench": own_version()}
    for name in (name for name in (*PACKAGES, *more) if name != DISTRIBUTION):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def code(folder: Path | None = None) -> dict[str, Any]:
    """Commit and dirty flag of the checkout that tracks recbench; both None outside such a checkout."""
    folder = Path(__file__).parents[1] if folder is None else folder
    tracked = _output(["git", "-C", str(folder), "ls-files", "--", "."])
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"])
    if not tracked or not commit:
        return {"commit": None, "dirty": None}
    changes = _output(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    return {"commit": commit, "dirty": bool(changes)}


def hardware() -> dict[str, Any]:
    """The machine, for the record of a run."""
    return {
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": gpus(),
    }


def gpus() -> list[str]:
    """Names of the GPUs that CUDA_VISIBLE_DEVICES shows to this process, or of all GPUs where it is unset.

    A slice of a GPU is named by its identifier.
    """
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown in ("", "-1") or shutil.which("nvidia-smi") is None:
        return []
    lines = (_output(["nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"]) or "").splitlines()
    installed = [(uuid, name.strip()) for uuid, _, name in (line.partition(",") for line in lines)]
    if shown is None:
        return [name for _, name in installed]
    visible = []
    for entry in (text.strip() for text in shown.split(",")):
        if entry.isdigit() and int(entry) < len(installed):
            visible.append(installed[int(entry)][1])
        elif entry.startswith("GPU-"):
            visible += [name for uuid, name in installed if uuid.startswith(entry)][:1]
        elif entry.startswith("MIG-"):
            visible.append(entry)
        else:  # CUDA ignores the entries after one that names no GPU
            break
    return visible


def default_device() -> str:
    """`cuda` where a GPU and a torch built for it are present, else `cpu`. Does not import torch."""
    torch = versions().get("torch")
    return "cuda" if torch and "+cpu" not in torch and gpus() else "cpu"


def only_device(device: str, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The device name for a worker, and the environment variables that hide every other GPU from it.

    A training loop that sees several GPUs would use them all. `cuda:N` is the N-th GPU that `environ` shows,
    `cuda` the first; the worker calls either `cuda`. UsageError for a device other than `cpu`, `cuda`,
    `cuda:N` and `mps`, MissingError where `environ` shows fewer GPUs.
    """
    kind, _, number = device.partition(":")
    fix = "RECBENCH_DEVICE=cuda, or cpu, or cuda:1"
    if device == "cpu":
        return device, {"CUDA_VISIBLE_DEVICES": ""}
    if device == "mps":
        return device, {}
    if kind != "cuda" or not (number.isdigit() or device == "cuda"):
        raise UsageError(f"no kind of device '{device}'", why="known: cpu, cuda, cuda:N, mps", fix=fix)
    index = int(number or 0)
    shown = environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return "cuda", {"CUDA_VISIBLE_DEVICES": str(index)}
    entries = [entry for entry in map(str.strip, shown.split(",")) if entry not in ("", "-1")]
    if index >= len(entries):
        raise MissingError(f"no device '{device}' is visible", why=f"CUDA_VISIBLE_DEVICES={shown}", fix=fix)
    return "cuda", {"CUDA_VISIBLE_DEVICES": entries[index]}


_MEMORY_OF = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    host_bytes: int
    gpu_bytes: int | None
    """None where no GPU was used."""


def peak_memory() -> PeakMemory:
    """Bytes at the peak of this process or of its largest finished child, whichever is more; GPU memory where
    this process has used one."""
    # ru_maxrss is in KiB on Linux and in bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    torch = sys.modules.get("torch")
    used_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return PeakMemory(
        host_bytes=max(resource.getrusage(who).ru_maxrss for who in _MEMORY_OF) * unit,
        gpu_bytes=int(torch.cuda.max_memory_allocated()) if torch is not None and used_gpu else None,
    )


def energy_between(before: int | None, after: int | None) -> int | None:
    """Millijoules between two readings; None where one is not known, or where a counter began anew."""
    return None if before is None or after is None or after < before else after - before


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _output(command: list[str]) -> str | None:
    """The output of a short command; None where the command is absent or fails."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()
