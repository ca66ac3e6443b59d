"""The task of a worker, as its driver writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbench.base.layout import OWN_STAGES, fit_folder, stages_folder
from recbench.results.spec import RunSpec
from recbench.running.guard.process import Mode
from recbench.stages import StageCache


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A fit or a ranking to do; it travels as a JSON file."""

    spec: RunSpec
    split: Path
    """The prepared split's folder."""
    cache: Path
    out: Path
    """Where `rank` leaves `topk.npz` and `rank.json`."""
    device: str
    threads: int
    """CPU threads of each process."""
    offline: bool
    processes: int = 1
    """How many processes share the work; each asserts the number that was started."""
    stop: Path | None = None
    """When this file appears, save state and raise Stopped."""
    rows: Sequence[int] | None = None
    """The requests that `rank` ranks, to check a part of a ranking; None: all."""
    guard: Mode = "landlock"
    """How the targets are kept from the method: `landlock` where the kernel has it, `audit` or `off`."""
    third_party: bool = False
    """Whether the method is no method of recbench's: it reads shared stages and makes its own, and has a
    temporary folder of its own."""
    closed: tuple[Path, ...] = ()
    """Files and folders from which the targets could be learned, beside the split and the cache's others."""

    @property
    def stages(self) -> StageCache:
        """The stages of this worker: shared ones, which only methods of recbench's make."""
        shared = stages_folder(self.cache)
        return StageCache(self.workdir / OWN_STAGES, shared) if self.third_party else StageCache(shared)

    @property
    def workdir(self) -> Path:
        return fit_folder(self.cache, self.spec.fit.id)

    def write(self, path: Path) -> None:
        record = {
            "spec": self.spec.to_json(),
            "split": str(self.split),
            "cache": str(self.cache),
            "out": str(self.out),
            "device": self.device,
            "threads": self.threads,
            "offline": self.offline,
            "processes": self.processes,
            "stop": None if self.stop is None else str(self.stop),
            "rows": None if self.rows is None else list(self.rows),
            "guard": self.guard,
            "third_party": self.third_party,
            "closed": [str(path) for path in self.closed],
        }
        path.write_text(json.dumps(record, indent=1))

    @classmethod
    def read(cls, path: Path) -> Task:
        record = json.loads(path.read_text())
        return cls(
            spec=RunSpec.from_json(record["spec"]),
            split=Path(record["split"]),
            cache=Path(record["cache"]),
            out=Path(record["out"]),
            device=record["device"],
            threads=record["threads"],
            offline=record["offline"],
            processes=record["processes"],
            stop=None if record["stop"] is None else Path(record["stop"]),
            rows=record["rows"],
            guard=record["guard"],
            third_party=record["third_party"],
            closed=tuple(Path(path) for path in record["closed"]),
        )
