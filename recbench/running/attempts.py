"""What all attempts of a fit cost together, and its curve without what an interrupted attempt wrote twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbench.base.environment import energy_between
from recbench.results.fit_record import Spent
from recbench.stages import StageCache


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt, a line of `attempts.jsonl`: written at its start, and again at its end unless it was
    killed."""

    began: float
    seconds: float | None = None
    """None for one that has not ended, or was killed."""
    stages: Mapping[str, float] = field(default_factory=dict)
    stage_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stages_built: Sequence[str] = ()
    millijoules: int | None = None
    """Of the GPUs; None where it is not known."""


class Attempts:
    """The attempts of a fit, kept in a file because an attempt may be interrupted.

    A killed attempt records no end: it lasted until it last wrote something in the fit's folder. So create
    this before anything else is written there.
    """

    def __init__(self, path: Path, stages: StageCache) -> None:
        self._path = path
        self._energy = stages.energy
        self._stages = stages
        self._present = set(stages.made_at())
        lines = path.read_text().splitlines() if path.exists() else []
        by_start = {attempt.began: attempt for attempt in _read(lines)}
        for began, attempt in by_start.items():
            if attempt.seconds is None:
                by_start[began] = _killed(began, path.parent, stages)
                self._write(by_start[began])
        self._attempts = list(by_start.values())

    @contextmanager
    def counted(self) -> Iterator[None]:
        start, began, drawn = time.perf_counter(), time.time(), self._energy()
        self._write(Attempt(began=began))
        try:
            yield
        except BaseException:
            self._write(self._ended(began, start, drawn))
            raise
        self._attempts.append(self._ended(began, start, drawn))

    def _write(self, attempt: Attempt) -> None:
        record = {"began": attempt.began} if attempt.seconds is None else asdict(attempt)
        with self._path.open("a") as stream:
            stream.write(json.dumps(record) + "\n")

    def total(self) -> Spent:
        stages = {name: cost for attempt in self._attempts for name, cost in attempt.stages.items()}
        counts = {name: count for attempt in self._attempts for name, count in attempt.stage_counts.items()}
        built = {name for attempt in self._attempts for name in attempt.stages_built}
        drawn = [attempt.millijoules for attempt in self._attempts]
        return Spent(
            millijoules=None if None in drawn else sum(filter(None, drawn)),
            seconds=sum(attempt.seconds or 0.0 for attempt in self._attempts),
            attempts=len(self._attempts),
            stages=stages,
            stage_counts=counts,
            stages_built=sorted(built & stages.keys()),
        )

    def _ended(self, began: float, start: float, drawn: int | None) -> Attempt:
        used = dict(self._stages.used)
        return Attempt(
            began=began,
            seconds=time.perf_counter() - start,
            stages=used,
            stage_counts=dict(self._stages.counts),
            stages_built=sorted(used.keys() - self._present),
            millijoules=energy_between(drawn, self._energy()),
        )


def _read(lines: Sequence[str]) -> Iterator[Attempt]:
    """The attempts of the file, without a line that a full disk has cut."""
    for line in lines:
        with suppress(json.JSONDecodeError):
            record = json.loads(line)
            if "began" in record:
                yield Attempt(**record)


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


def _killed(began: float, workdir: Path, stages: StageCache) -> Attempt:
    """An attempt that recorded no end; a later attempt asks again for the stages that it used.

    Log and task do not count as written: the next attempt already has them.
    """
    files = (path for path in workdir.rglob("*") if path.name not in ("log.txt", "task.json"))
    written = [path.stat().st_mtime for path in files if path.is_file()]
    ended = max([began, *written])
    made = [name for name, when in stages.made_at().items() if began <= when <= ended]
    return Attempt(began=began, seconds=ended - began, stages_built=made)
