"""What all attempts of a fit cost together, and its curve without what an interrupted attempt wrote twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbench.stages import StageCache


class Attempts:
    """What all attempts of a fit cost, kept in a file because an attempt may be interrupted: seconds, the
    stages that were used with the seconds that each took when it was made, and those made on the way."""

    def __init__(self, path: Path, stages: StageCache) -> None:
        self._path = path
        self._stages = stages
        self._present = _stages_present(stages.root)
        lines = path.read_text().splitlines() if path.exists() else []
        self._attempts: list[dict[str, Any]] = [json.loads(line) for line in lines]

    @contextmanager
    def counted(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            with self._path.open("a") as stream:
                stream.write(json.dumps(self._record(start)) + "\n")
            raise
        self._attempts.append(self._record(start))

    def total(self) -> dict[str, Any]:
        return {
            "seconds": sum(one["seconds"] for one in self._attempts),
            "attempts": len(self._attempts),
            "stages": {name: cost for one in self._attempts for name, cost in one["stages"].items()},
            "stage_counts": {
                name: counts for one in self._attempts for name, counts in one["stage_counts"].items()
            },
            "stages_built": sorted({name for one in self._attempts for name in one["stages_built"]}),
        }

    def _record(self, start: float) -> dict[str, Any]:
        used = dict(self._stages.used)
        return {
            "seconds": time.perf_counter() - start,
            "stages": used,
            "stage_counts": dict(self._stages.counts),
            "stages_built": sorted(used.keys() - self._present),
        }


def last_of_each_step(lines: list[str]) -> list[str]:
    """The lines of a curve without records that an interrupted attempt wrote and a later one wrote again.

    Two records are the same point when they have the same keys and the same `step`; a record without a step
    is kept once for each content.
    """
    points: dict[tuple[Any, ...], str] = {}
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the attempt died inside this line
            continue
        point = (record["step"], *sorted(record)) if "step" in record else (line,)
        points[point] = line
    return list(points.values())


def _stages_present(cache: Path) -> set[str]:
    return {f"{p.parent.parent.name}/{p.parent.name}" for p in cache.glob("*/*/stage.json")}
