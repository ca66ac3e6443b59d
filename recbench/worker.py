"""One fit or one ranking in a process of its own: `python -m recbench.worker fit|rank TASK.json`.

It says how far it is in JSON lines on stdout; whatever libraries print goes to stderr. It never opens the
file of the test targets: a ranking is on disk before anybody does. Exit codes: 0 done, 1 failed (the last
line says why), 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import numpy as np

from recbench import bundle, environment, registry, resolve, split
from recbench.errors import DataError, DigestError, RecbenchError
from recbench.method import Method, ParentFit, RunContext
from recbench.ranking import Ranking
from recbench.stages import StageCache
from recbench.task import COMPLETE, SPEC, Task, fit_folder

PROGRESS_SECONDS = 0.2
TRACEBACK_LINES = 40


class LineReporter:
    """Sends progress as JSON lines, keeps the curve in a file and adds up the counts."""

    def __init__(self, lines: TextIO, curve: TextIO) -> None:
        self._lines = lines
        self._curve = curve
        self._last_progress = 0.0
        self.counts: dict[str, int] = {}

    def progress(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total or now - self._last_progress >= PROGRESS_SECONDS:
            self._last_progress = now
            self.send("progress", stage=stage, done=int(done), total=int(total))

    def log(self, **values: float | int | str) -> None:
        record = {key: value.item() if hasattr(value, "item") else value for key, value in values.items()}
        self._curve.write(json.dumps(record) + "\n")
        self._curve.flush()

    def count(self, **values: int) -> None:
        for key, value in values.items():
            self.counts[key] = self.counts.get(key, 0) + int(value)

    def send(self, event: str, **values: Any) -> None:
        try:
            self._lines.write(json.dumps({"event": event, **values}) + "\n")
            self._lines.flush()
        except BrokenPipeError:  # the driver is gone, so nobody waits for this work
            raise KeyboardInterrupt from None


class MethodError(Exception):
    """Wraps what a method's own code raised, so that its failure is told from the harness's."""


def main(arguments: list[str]) -> int:
    verb, path = arguments
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    with _own_stdout() as lines:
        try:
            task = Task.read(Path(path))
            {"fit": fit, "rank": rank}[verb](task, lines)
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            traceback.print_exc()
            lines.write(json.dumps({"event": "failed", **failure_of(error)}) + "\n")
            lines.flush()
            return 1
    return 0


def fit(task: Task, lines: TextIO) -> None:
    """Train in the fit's folder; the marker is written when all else is there."""
    workdir = task.workdir
    workdir.mkdir(parents=True, exist_ok=True)
    _write_atomically(workdir / SPEC, json.dumps(asdict(task.spec.fit), indent=1, sort_keys=True))
    data = split.load_training(task.split)
    stages = StageCache(task.cache)
    spent = _Attempts(workdir / "attempts.jsonl", stages)
    with (workdir / "train.jsonl").open("a") as curve:
        report = LineReporter(lines, curve)
        with spent.counted(), _method_code():
            method, context = _build(task, stages, report)
            method.fit(data, run=context)
    keep_last_of_each_step(workdir / "train.jsonl")
    record = {
        **spent.total(),
        "counts": report.counts,
        "parents": _parents(task),
        "facts": _facts(workdir),
        "peak": environment.peak_memory(),
        "device": task.device,
        "threads": task.threads,
    }
    _write_atomically(workdir / "fit.json", json.dumps(record, indent=1, sort_keys=True))
    _write_atomically(workdir / COMPLETE, "")


def rank(task: Task, lines: TextIO) -> None:
    """Restore the fit and rank the phase's requests; the ranking is checked before it is written."""
    data = split.load_training(task.split)
    protocol = task.spec.protocol
    requests = split.load_requests(task.split, task.spec.phase, exclude_seen=protocol["exclude_seen"])
    with Path(os.devnull).open("w") as curve:
        report = LineReporter(lines, curve)
        start = time.perf_counter()
        with _method_code():
            method, context = _build(task, StageCache(task.cache), report)
            method.load(data, run=context)
            ranking = method.rank(requests, k=protocol["depth"])
            seconds = time.perf_counter() - start
            ranking.check(requests, num_items=data.num_items, depth=protocol["depth"])
    bundle.write_arrays(task.out / "topk.npz", **topk_arrays(ranking))
    record = {
        "seconds": seconds,
        "stats": {key: float(value) for key, value in ranking.stats.items() if np.isfinite(value)},
        "counts": report.counts,
        "peak": environment.peak_memory(),
    }
    _write_atomically(task.out / "rank.json", json.dumps(record, indent=1, sort_keys=True))


def topk_arrays(ranking: Ranking) -> dict[str, Any]:
    """The arrays of `topk.npz`; what a method does not report is left out."""
    arrays: dict[str, Any] = {"items": ranking.items.astype(np.int32)}
    if ranking.scores is not None:
        arrays["scores"] = ranking.scores.astype(np.float32)
    if ranking.certified is not None:
        arrays["certified"] = ranking.certified
    return arrays


def failure_of(error: BaseException) -> dict[str, Any]:
    """A failure as a record: its class, and what a user needs to mend it."""
    cause = error.__cause__ if isinstance(error, MethodError) and error.__cause__ else error
    record = {
        "class": _failure_class(error, cause),
        "message": str(cause) or type(cause).__name__,
        "type": type(cause).__name__,
        "traceback": "".join(traceback.format_exception(cause)).splitlines()[-TRACEBACK_LINES:],
    }
    if isinstance(cause, RecbenchError):
        record |= {"what": cause.what, "why": cause.why, "mend": cause.mend}
    return record


def _failure_class(error: BaseException, cause: BaseException) -> str:
    if isinstance(cause, MemoryError) or "OutOfMemory" in type(cause).__name__:
        return "oom"
    if isinstance(cause, RuntimeError) and ("out of memory" in str(cause) or "can't allocate" in str(cause)):
        return "oom"
    if isinstance(cause, (DataError, DigestError)):
        return "data"
    return "method" if isinstance(error, MethodError) else "harness"


def keep_last_of_each_step(path: Path) -> None:
    """Drop records of a curve that an interrupted attempt wrote and a later one wrote again.

    Two records are the same point when they have the same keys and the same `step`; a record without a step
    is kept once for each content.
    """
    points: dict[tuple[Any, ...], str] = {}
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the attempt died inside this line
            continue
        point = (record["step"], *sorted(record)) if "step" in record else (line,)
        points[point] = line
    _write_atomically(path, "".join(line + "\n" for line in points.values()))


class _Attempts:
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

    def _record(self, start: float) -> dict[str, Any]:
        used = dict(self._stages.used)
        return {
            "seconds": time.perf_counter() - start,
            "stages": used,
            "stage_counts": dict(self._stages.counts),
            "stages_built": sorted(used.keys() - self._present),
        }

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


def _build(task: Task, stages: StageCache, report: LineReporter) -> tuple[Method, RunContext]:
    plugin = registry.load(task.spec.fit.method)
    context = RunContext(
        seed=task.spec.fit.seed or 0,
        workdir=task.workdir,
        stages=stages,
        parent=_parent(task),
        llm=resolve.rebuild_llm_settings(task.spec),
        device=task.device,
        threads=task.threads,
        offline=task.offline,
        report=report,
    )
    return plugin.build(task.spec.fit.params), context


def _parents(task: Task) -> list[str]:
    """The fits that this one descends from, the nearest first."""
    parent = task.spec.fit.parent
    if parent is None:
        return []
    record = json.loads((fit_folder(task.cache, parent) / "fit.json").read_text())
    return [parent, *record["parents"]]


def _parent(task: Task) -> ParentFit | None:
    ancestors = [fit_folder(task.cache, fit) for fit in _parents(task)]
    if not ancestors:
        return None
    counts = [json.loads((folder / "fit.json").read_text())["counts"] for folder in ancestors]
    tokens = sum(count.get("trained_tokens", 0) for count in counts)
    return ParentFit(id=ancestors[0].name, workdir=ancestors[0], trained_tokens=tokens)


def _facts(workdir: Path) -> dict[str, Any]:
    """What a method leaves in `facts.json` for the bundle: `identifiers` (a digest), `num_parameters`
    (`all` and `trainable`), ..."""
    path = workdir / "facts.json"
    facts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return facts


@contextmanager
def _method_code() -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise MethodError from error


@contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """The real stdout as a stream of our own; file descriptor 1 and `sys.stdout` become stderr."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as lines:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        yield lines


def _stages_present(cache: Path) -> set[str]:
    return {f"{p.parent.parent.name}/{p.parent.name}" for p in cache.glob("*/*/stage.json")}


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
