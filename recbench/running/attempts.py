"""What all attempts of a fit cost together, and its curve without what an interrupted attempt wrote twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recbench.stages import StageCache


class Attempts:
    """What all attempts of a fit cost, kept in a file because an attempt may be interrupted: seconds, the
    stages that were used with the seconds that each took when it was made, and those made on the way.

    An attempt that was killed could say nothing: it lasted until it last wrote something in the fit's folder.
    So this is made before anything else is written there.
    """

    def __init__(self, path: Path, stages: StageCache) -> None:
        self._path = path
        self._stages = stages
        self._present = set(_stages_made(stages.root))
        lines = path.read_text().splitlines() if path.exists() else []
        by_start = {record["began"]: record for record in _records(lines)}
        for began, record in by_start.items():
            if "seconds" not in record:
                by_start[began] = _killed(began, path.parent, stages.root)
                self._write(by_start[began])
        self._attempts: list[dict[str, Any]] = list(by_start.values())

    @contextmanager
    def counted(self) -> Iterator[None]:
        start, began = time.perf_counter(), time.time()
        self._write({"began": began})
        try:
            yield
        except BaseException:
            self._write({"began": began, **self._record(start)})
            raise
        self._attempts.append(self._record(start))

    def _write(self, record: dict[str, Any]) -> None:
        with self._path.open("a") as stream:
            stream.write(json.dumps(record) + "\n")

    def total(self) -> dict[str, Any]:
        stages = {name: cost for one in self._attempts for name, cost in one["stages"].items()}
        return {
            "seconds": sum(one["seconds"] for one in self._attempts),
            "attempts": len(self._attempts),
            "stages": stages,
            "stage_counts": {
                name: counts for one in self._attempts for name, counts in one["stage_counts"].items()
            },
            "stages_built": sorted(
                {name for one in self._attempts for name in one["stages_built"] if name in stages}
            ),
        }

    def _record(self, start: float) -> dict[str, Any]:
        used = dict(self._stages.used)
        return {
            "seconds": time.perf_counter() - start,
            "stages": used,
            "stage_counts": dict(self._stages.counts),
            "stages_built": sorted(used.keys() - self._present),
        }


def _records(lines: list[str]) -> Iterator[dict[str, Any]]:
    """Without a line that a full disk has cut."""
    for line in lines:
        with suppress(json.JSONDecodeError):
            record = json.loads(line)
            if "began" in record:
                yield record


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


def _killed(began: float, workdir: Path, cache: Path) -> dict[str, Any]:
    """The record of an attempt that ended without a word; what it used, a later attempt uses again. Log
    and task say nothing of it: the next attempt has them already."""
    said = (path for path in workdir.rglob("*") if path.name not in ("log.txt", "task.json"))
    written = [path.stat().st_mtime for path in said if path.is_file()]
    ended = max([began, *written])
    made = [name for name, when in _stages_made(cache).items() if began <= when <= ended]
    return {"began": began, "seconds": ended - began, "stages": {}, "stage_counts": {}, "stages_built": made}


def _stages_made(cache: Path) -> dict[str, float]:
    """When each shared stage was finished."""
    records = cache.glob("*/*/stage.json")
    return {f"{one.parent.parent.name}/{one.parent.name}": one.stat().st_mtime for one in records}
