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
    """Takes runs as places become free; a run waits for its parent, and for memory where others work."""

    name: ClassVar[str] = "local"

    max_parallel: int | None = None
    """How many runs at once; None: one for each GPU, or one on a machine without."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes that a run is known to need, by run id."""

    def check(self, planned: Sequence[Planned], resources: Mapping[str, Resources], root: Root) -> None:
        if any(one.nodes > 1 for one in resources.values()):
            raise UsageError("one machine has one node", fix="--nodes belongs to --on slurm")
        places = _places(root)
        if places is None:
            return
        for one in planned:
            asked = resources[one.spec.id].gpus
            if asked > len(places):
                raise MissingError(
                    f"{one.name} asks for {asked} GPUs, and {len(places)} "
                    f"{'is' if len(places) == 1 else 'are'} here",
                    fix=f"--gpus {len(places)}, or --on slurm",
                )

    def run(self, planned: Sequence[Planned], resources: Mapping[str, Resources], driver: Driver) -> None:
        places = _places(driver.root)
        width = self.max_parallel or (1 if places is None else len(places))
        gpus = {one.spec.id: resources[one.spec.id].gpus for one in planned}
        free = [str(number) for number in range(width)] if places is None else places
        if width == 1 or len(planned) == 1:
            for one in planned:
                run_one(one, driver, _slot(driver.root, free, gpus[one.spec.id], places, share=1))
            return
        _Crew(driver, self, places, free, width).run(planned, gpus)


class _Crew:
    """The runs of one call of a pool that works on several at once, a thread for each."""

    def __init__(
        self, driver: Driver, pool: LocalPool, places: list[str] | None, free: list[str], width: int
    ) -> None:
        self.driver, self.pool, self.places = driver, pool, places
        self.free, self.width = list(free), width
        self.budget = _available_memory()
        self.running: dict[Future[object], tuple[Planned, list[str]]] = {}

    def run(self, planned: Sequence[Planned], gpus: Mapping[str, int]) -> None:
        waiting = list(planned)
        with ThreadPoolExecutor(self.width) as threads:
            try:
                while waiting or self.running:
                    for one in list(waiting):
                        if self._may_start(one, waiting, gpus[one.spec.id]):
                            waiting.remove(one)
                            self._start(one, gpus[one.spec.id], threads)
                    done, _ = wait(self.running, return_when=FIRST_COMPLETED)
                    for future in done:
                        _, taken = self.running.pop(future)
                        self.free += taken
                        future.result()
            except BaseException:
                self.driver.workers.end()
                self.driver.workers.wait(STOP_SECONDS)
                raise

    def _may_start(self, one: Planned, waiting: Sequence[Planned], gpus: int) -> bool:
        active = [running for running, _ in self.running.values()]
        if len(self.free) < (1 if self.places is None else gpus) or len(active) >= self.width:
            return False
        unfinished = {other.spec.id for other in (*waiting, *active)}
        if one.parent is not None and one.parent.spec.id in unfinished:
            return False
        if any(other.spec.fit.id == one.spec.fit.id for other in active):
            return False  # it would only wait for the fit
        needed = sum(self.pool.memory.get(other.spec.id, 0) for other in (*active, one))
        return not active or needed <= self.budget

    def _start(self, one: Planned, gpus: int, threads: ThreadPoolExecutor) -> None:
        count = 1 if self.places is None else gpus
        taken, self.free = self.free[:count], self.free[count:]
        slot = _slot(self.driver.root, taken, gpus, self.places, share=self.width)
        progress = _named(self.driver.listener.progress, one.name)
        self.running[threads.submit(run_one, one, self.driver, slot, progress)] = one, taken


def _named(progress: Progress, name: str) -> Progress:
    """Progress under the name of a run, for several that go on at once."""
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)


def _places(root: Root) -> list[str] | None:
    """The GPUs that runs may take, as CUDA_VISIBLE_DEVICES names them; None where runs use the CPU, of which
    there is always enough."""
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


def _slot(root: Root, taken: Sequence[str], gpus: int, places: list[str] | None, *, share: int) -> Slot:
    device = root.setting("device") or environment.default_device()
    device, variables = environment.only_device(device, os.environ)
    if places is not None:
        variables = {"CUDA_VISIBLE_DEVICES": ",".join(taken[:gpus])}
    return Slot(device=device, variables=variables, threads=max(1, root.threads // share), processes=gpus)


def _available_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
