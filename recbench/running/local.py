"""Runs on this machine: one after another, or several at once, each with its own GPUs or CPU threads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import ClassVar

from recbench.base import environment
from recbench.base.root import Root
from recbench.errors import MissingError, UsageError
from recbench.planning.plan import Planned
from recbench.planning.resources import Resources
from recbench.running.one_run import Driver, run_one
from recbench.running.workers import STOP_SECONDS, Progress, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPool:
    """Starts runs as GPUs become free; a run waits for its parent, and for memory beside other runs."""

    name: ClassVar[str] = "local"

    max_parallel: int | None = None
    """How many runs at once; None: one for each GPU, or one on a machine without GPUs."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes that a run is known to need, by run id."""
    seconds: float | None = None
    """How long a run may take; the time limit of a study belongs to the cluster."""

    def check(self, planned: Sequence[Planned], resources: Mapping[str, Resources], root: Root) -> None:
        if any(asked.nodes > 1 for asked in resources.values()):
            raise UsageError("one machine has one node", fix="--nodes belongs to --on slurm")
        visible = _visible_gpus(root)
        if visible is None:
            return
        for run in planned:
            asked = resources[run.spec.id].gpus
            if asked > len(visible):
                raise MissingError(
                    f"{run.name} asks for {asked} GPUs, and {len(visible)} "
                    f"{'is' if len(visible) == 1 else 'are'} here",
                    fix=f"--gpus {len(visible)}, or --on slurm",
                )

    def run(self, planned: Sequence[Planned], resources: Mapping[str, Resources], driver: Driver) -> None:
        visible = _visible_gpus(driver.root)
        width = self.max_parallel or (1 if visible is None else len(visible))
        gpus = {run.spec.id: resources[run.spec.id].gpus for run in planned}
        free = [str(number) for number in range(width)] if visible is None else visible
        if width == 1 or len(planned) == 1:
            for run in planned:
                run_one(run, driver, self.slot(driver.root, free, gpus[run.spec.id], visible, share=1))
            return
        _Crew(driver, self, visible, free, width).run(planned, gpus)

    def slot(
        self, root: Root, taken: Sequence[str], gpus: int, visible: list[str] | None, *, share: int
    ) -> Slot:
        """The part of this machine that a run gets which has taken these GPUs."""
        device = root.setting("device") or environment.default_device()
        device, variables = environment.only_device(device, os.environ)
        if visible is not None:
            variables = {"CUDA_VISIBLE_DEVICES": ",".join(taken[:gpus])}
        threads = max(1, root.threads // share)
        return Slot(device=device, variables=variables, threads=threads, processes=gpus, seconds=self.seconds)


class _Crew:
    """Works on several runs at once, with a thread for each."""

    def __init__(
        self, driver: Driver, pool: LocalPool, visible: list[str] | None, free: list[str], width: int
    ) -> None:
        self.driver, self.pool, self.visible = driver, pool, visible
        self.free, self.width = list(free), width
        self.budget = _available_memory()
        self.running: dict[Future[object], tuple[Planned, list[str]]] = {}

    def run(self, planned: Sequence[Planned], gpus: Mapping[str, int]) -> None:
        waiting = list(planned)
        with ThreadPoolExecutor(self.width) as threads:
            try:
                while waiting or self.running:
                    for run in list(waiting):
                        if self._may_start(run, waiting, gpus[run.spec.id]):
                            waiting.remove(run)
                            self._start(run, gpus[run.spec.id], threads)
                    done, _ = wait(self.running, return_when=FIRST_COMPLETED)
                    for future in done:
                        _, taken = self.running.pop(future)
                        self.free += taken
                        future.result()
            except BaseException:
                self.driver.workers.end()
                self.driver.workers.wait(STOP_SECONDS)
                raise

    def _may_start(self, run: Planned, waiting: Sequence[Planned], gpus: int) -> bool:
        active = [other for other, _ in self.running.values()]
        if len(self.free) < (1 if self.visible is None else gpus) or len(active) >= self.width:
            return False
        unfinished = {other.spec.id for other in (*waiting, *active)}
        if run.parent is not None and run.parent.spec.id in unfinished:
            return False
        if any(other.spec.fit.id == run.spec.fit.id for other in active):
            return False  # it would only wait for that fit
        needed = sum(self.pool.memory.get(other.spec.id, 0) for other in (*active, run))
        return not active or needed <= self.budget

    def _start(self, run: Planned, gpus: int, threads: ThreadPoolExecutor) -> None:
        count = 1 if self.visible is None else gpus
        taken, self.free = self.free[:count], self.free[count:]
        slot = self.pool.slot(self.driver.root, taken, gpus, self.visible, share=self.width)
        progress = _named(self.driver.listener.progress, run.name)
        self.running[threads.submit(run_one, run, self.driver, slot, progress)] = run, taken


def one_slot(root: Root) -> Slot:
    """One GPU, or the CPU with all threads, for a worker beside no other."""
    return slot_of(root, 1, LocalPool()).alone()


def slot_of(root: Root, gpus: int, pool: LocalPool) -> Slot:
    """So many GPUs, or the CPU with all threads, for a run beside no other. MissingError for too many."""
    visible = _visible_gpus(root)
    if visible is not None and gpus > len(visible):
        raise MissingError(f"{gpus} GPUs are asked for, and {len(visible)} are here")
    return pool.slot(root, ["0"] if visible is None else visible, gpus, visible, share=1)


def _named(progress: Progress, name: str) -> Progress:
    """Progress under the name of a run, for several that go on at once."""
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)


def _visible_gpus(root: Root) -> list[str] | None:
    """The GPUs that runs may take, as CUDA_VISIBLE_DEVICES names them; None where runs use the CPU."""
    device = root.setting("device") or environment.default_device()
    if device.partition(":")[0] != "cuda":
        return None
    _, variables = environment.only_device(device, os.environ)
    if ":" in device:
        return [variables["CUDA_VISIBLE_DEVICES"]]
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [entry for entry in map(str.strip, shown.split(",")) if entry not in ("", "-1")]
    return [str(number) for number in range(max(1, len(environment.gpus())))]


def _available_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
