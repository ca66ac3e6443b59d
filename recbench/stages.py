"""Shared stages: artefacts that several fits need and that are made once (identifiers, a reward model).

A stage is kept in `cache/<kind>/<digest>/`. One process makes it while the others wait; it appears by one
rename when it is finished, and records its cost, so that a fit can report its stand-alone cost with every
stage counted in full. `stage.json` has the sha256 of its files, which are checked before it is used.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbench.base import digest, locks
from recbench.base.environment import energy_between
from recbench.base.files import parse_json
from recbench.base.progress import Silent
from recbench.errors import DigestError

RECORD = "stage.json"
SEAL = "seal"  # the record's own digest
MILLIJOULES = "millijoules"
"""The count of the energy that the GPUs drew while a stage was made; none where it is not known."""
MAKING = "making "
"""What the progress of a stage that is made begins with: 0 of 1 before, 1 of 1 after."""


@dataclass(frozen=True, slots=True)
class StageCache:
    """Makes stages where they are missing, and knows what those that were asked for have cost."""

    root: Path
    """Where stages are made."""
    shared: Path | None = None
    """Stages of others, which are used where they exist and never made: a third party's method reads those
    of recbench, and makes its own in the folder of its fit."""
    used: dict[str, float] = field(default_factory=dict)
    """Seconds that it took to make each stage that was requested, by `kind/digest`."""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Other counts of each stage's cost, e.g. `generated_tokens`."""
    progress: Callable[[str, int, int], None] = Silent().progress
    """Is told when this process makes a stage, and when it waits for another one that does."""
    energy: Callable[[], int | None] = lambda: None
    """Millijoules that the GPUs have drawn since some moment; None where it is not known."""

    def get(
        self, kind: str, spec: Mapping[str, Any], build: Callable[[Path], Mapping[str, int] | None]
    ) -> Path:
        """The folder of the stage that `spec` defines. Where it does not exist, `build` fills an empty folder
        and may return counts of its cost. DigestError names a file that has changed since it was made."""
        key = digest.short(digest.of_json({"kind": kind, **spec}))
        folder = next((top / kind / key for top in self.folders if _is_sealed(top / kind / key)), None)
        if folder is None:
            folder = self._made(kind, key, spec, build)
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if f"{kind}/{key}" not in self.used:
            _check(folder, record)
        self.used[f"{kind}/{key}"], self.counts[f"{kind}/{key}"] = record["seconds"], record["counts"]
        return folder

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where stages are looked for, in this order."""
        return (self.root,) if self.shared is None else (self.shared, self.root)

    def made_at(self) -> dict[str, float]:
        """When each stage here was finished, by `kind/digest`."""
        records = [path for top in self.folders for path in top.glob(f"*/*/{RECORD}")]
        return {f"{path.parent.parent.name}/{path.parent.name}": path.stat().st_mtime for path in records}

    def _made(
        self, kind: str, key: str, spec: Mapping[str, Any], build: Callable[[Path], Mapping[str, int] | None]
    ) -> Path:
        folder = self.root / kind / key

        def waiting(owner: locks.Owner | None) -> None:
            self.progress(f"waiting for {kind}, which {locks.holder(owner)} makes", 0, 1)

        with locks.hold(self.root / "locks" / f"{kind}-{key}", f"making {kind}", waiting=waiting):
            if not _is_sealed(folder):
                self.progress(f"{MAKING}{kind}", 0, 1)
                _make(folder, kind, spec, build, self.energy)
                self.progress(f"{MAKING}{kind}", 1, 1)
        return folder


def _is_sealed(folder: Path) -> bool:
    """Whether the stage exists with its digests; one of an earlier version, without, is made again."""
    try:
        return SEAL in parse_json((folder / RECORD).read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def _check(folder: Path, record: Mapping[str, Any]) -> None:
    """DigestError where the record of a stage, or a file that it names, has changed since it was made."""
    fix = f"remove {folder}: the next run makes it again"
    sealed = digest.of_json({name: value for name, value in record.items() if name != SEAL})
    if record[SEAL] != sealed:
        raise DigestError(
            f"{folder / RECORD} has changed since it was made",
            why=f"its seal is {record[SEAL]}, and its content gives {sealed}",
            fix=fix,
        )
    digest.check_folder(folder, record["files"], fix=fix)


def _make(
    folder: Path,
    kind: str,
    spec: Mapping[str, Any],
    build: Callable[[Path], Mapping[str, int] | None],
    energy: Callable[[], int | None],
) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    start, drawn = time.perf_counter(), energy()
    counts = dict(build(partial) or {})
    millijoules = energy_between(drawn, energy())
    counts |= {} if millijoules is None else {MILLIJOULES: millijoules}
    record: dict[str, Any] = {
        "kind": kind,
        "spec": dict(spec),
        "seconds": time.perf_counter() - start,
        "counts": counts,
        "files": digest.of_folder(partial),
    }
    record[SEAL] = digest.of_json(record)
    (partial / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
