"""The machine: GPUs and the torch that is to use them, cores, memory."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from recbench.base import environment
from recbench.base.words import size_text
from recbench.doctor.finding import Answer, Finding, ask
from recbench.doctor.software import installed

LEAST_FREE_MEMORY = 2 << 30
IMPORT_SECONDS = 90.0  # torch from a cold network file system
QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
TRY_CUDA = (
    "import json, torch; print(json.dumps([torch.version.cuda, torch.cuda.is_available(), "
    "torch.cuda.is_available() and torch.cuda.is_bf16_supported()]))"
)


@dataclass(frozen=True, slots=True)
class Card:
    name: str
    memory_mib: int
    driver: str


def cards(answer: Answer) -> list[Card]:
    """What `QUERY` said, a GPU a line."""
    lines = [line.split(",") for line in answer.text.splitlines()] if answer.good else []
    return [
        Card(name.strip(), int(memory) if memory.strip().isdigit() else 0, driver.strip())
        for name, memory, driver in (line for line in lines if len(line) == 3)
    ]


def gpus(device: str | None) -> Finding:
    """`device` is the one that runs are set to use; None: a GPU where there is one."""
    answer = ask(QUERY) if shutil.which("nvidia-smi") else Answer(None, "there is no nvidia-smi")
    return judge_gpus(cards(answer), answer, shown=environment.gpus(), device=device)


def judge_gpus(there: list[Card], answer: Answer, *, shown: list[str], device: str | None) -> Finding:
    """`shown` are those of `there` that this process may use."""
    if there:
        counted = Counter(there).items()
        names = ", ".join(f"{n} x {card.name} {size_text(card.memory_mib << 20)}" for card, n in counted)
        found = f"{names}, driver {there[0].driver}"
        if len(shown) == len(there):
            return Finding(name="gpus", status="ok", found=found)
        hidden = f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')} shows {len(shown)}"
        return Finding(name="gpus", status="ok" if shown else "warning", found=f"{found}; {hidden} of them")
    if device is not None and device.startswith("cuda"):
        return Finding(
            name="gpus",
            status="missing",
            found=f"none ({answer.text}), and runs are set to use {device}",
            fix="RECBENCH_DEVICE=cpu, or a driver that answers nvidia-smi",
        )
    if answer.code is not None and not answer.good:
        return Finding(
            name="gpus",
            status="warning",
            found=f"nvidia-smi is here and fails: {answer.text}",
            fix="load the driver that belongs to it, or restart the machine after an update of the driver",
        )
    return Finding(name="gpus", status="ok", found="none: runs use the CPU")


def torch() -> Iterator[Finding]:
    """Nothing where torch is not installed. It is imported, in a process of its own, only where there is a
    GPU that it could use."""
    version = installed("torch")
    if version is None:
        return
    shown = environment.gpus()
    asks = bool(shown) and "+cpu" not in version
    answer = ask([sys.executable, "-P", "-c", TRY_CUDA], seconds=IMPORT_SECONDS) if asks else None
    yield judge_torch(version, shown, answer)


def judge_torch(version: str, shown: list[str], answer: Answer | None) -> Finding:
    """`answer` is that of TRY_CUDA; None where it was not worth asking."""
    if answer is None:
        if not shown:
            return Finding(name="torch", status="ok", found=f"{version}; there is no GPU to use")
        return Finding(
            name="torch",
            status="warning",
            found=f"{version} is built for the CPU and leaves {len(shown)} GPUs idle",
            fix="pip uninstall torch, and install the build for the CUDA version that nvidia-smi shows",
        )
    if not answer.good:
        return Finding(
            name="torch",
            status="missing",
            found=f"{version} cannot be imported: {answer.text}",
            fix="pip install --force-reinstall torch -c constraints.txt",
        )
    cuda, available, bf16 = json.loads(answer.text.splitlines()[-1])
    if not available:
        return Finding(
            name="torch",
            status="missing",
            found=f"{version} for CUDA {cuda} cannot use {shown[0]}",
            fix="a driver for that CUDA version, or a torch that is built for an older one",
        )
    if not bf16:
        return Finding(
            name="torch",
            status="warning",
            found=f"{version} for CUDA {cuda} uses {shown[0]}, which does not compute in bf16",
            fix="--set train.precision=fp32",
        )
    return Finding(name="torch", status="ok", found=f"{version} for CUDA {cuda} uses {shown[0]}")


def processor(threads: int) -> Finding:
    """Cores that this process may use, and memory; `threads` is what a worker is set to use."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory()
    found = f"{cores} cores, {size_text(memory.available)} of {size_text(memory.total)} memory free"
    if threads > cores:
        return Finding(
            name="processor",
            status="warning",
            found=f"{found}; a worker is set to use {threads} threads",
            fix=f"RECBENCH_THREADS={cores}",
        )
    if memory.available < LEAST_FREE_MEMORY:
        fix = "end what uses the memory; a run on the tiny backbone takes about 1 GiB"
        return Finding(name="processor", status="warning", found=found, fix=fix)
    return Finding(name="processor", status="ok", found=found)
