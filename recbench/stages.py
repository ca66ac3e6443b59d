"""Shared stages: artefacts that several fits need and that are made once (identifiers, a reward model).

A stage is kept in `cache/<kind>/<digest>/`. One process makes it while the others wait; it appears by one
rename when it is finished, and records its cost, so that a fit can report its stand-alone cost with every
stage counted in full.
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


@dataclass(frozen=True, slots=True)
class StageCache:
    root: Path
    """The root's folder `cache`, or another folder of stages."""
    used: dict[str, float] = field(default_factory=dict)
    """Seconds that it took to make each stage that was requested, by `kind/digest`."""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Other counts of each stage's cost, e.g. `generated_tokens`."""

    def get(
        self, kind: str, spec: Mapping[str, Any], build: Callable[[Path], Mapping[str, int] | None]
    ) -> Path:
        """The folder of the stage that `spec` defines. Where it does not exist, `build` fills an empty folder
        and may return counts of its cost."""
        key = digest.short(digest.of_json({"kind": kind, **spec}))
        folder = self.root / kind / key
        if not (folder / "stage.json").exists():
            with locks.hold(self.root / "locks" / f"{kind}-{key}", f"making {kind}"):
                if not (folder / "stage.json").exists():
                    _make(folder, kind, spec, build)
        record = json.loads((folder / "stage.json").read_text())
        self.used[f"{kind}/{key}"], self.counts[f"{kind}/{key}"] = record["seconds"], record["counts"]
        return folder


def _make(
    folder: Path, kind: str, spec: Mapping[str, Any], build: Callable[[Path], Mapping[str, int] | None]
) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    start = time.perf_counter()
    counts = dict(build(partial) or {})
    record = {"kind": kind, "spec": dict(spec), "seconds": time.perf_counter() - start, "counts": counts}
    (partial / "stage.json").write_text(json.dumps(record, indent=1, sort_keys=True))
    partial.rename(folder)
