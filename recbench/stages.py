"""Shared stages: things that several fits need and that are made once (identifiers, a reward model).

A stage lives in `cache/<kind>/<digest>/`, is made by one process while the others wait, appears there by one
rename when it is finished, and records what it cost, so that a fit can report its stand-alone cost with
every stage counted in full.
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
    """The folder `cache`."""
    used: dict[str, float] = field(default_factory=dict)
    """Seconds that each stage asked for took when it was made, by `kind/digest`."""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    """What each counted beside, e.g. `generated_tokens`."""

    def get(
        self, kind: str, spec: Mapping[str, Any], build: Callable[[Path], Mapping[str, int] | None]
    ) -> Path:
        """The folder of the stage that `spec` names; `build` fills an empty one where it is not there yet
        and may return counts that belong to its cost."""
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
