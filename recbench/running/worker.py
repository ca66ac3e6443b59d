"""A fit or a ranking in a process of its own: `python -m recbench.running.worker fit|rank TASK.json`.

Progress goes to stdout in JSON lines; output of libraries goes to stderr. The file of the test targets is
never opened here: it is read when the ranking is on disk. Under `torchrun` several such processes share the
work, and only the first reports and writes. Exit codes: 0 done, or stopped on request (the last line says
so), 1 failed (the last line says why), 130 interrupted. A process that ends otherwise has said none of these.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import numpy as np

from recbench.base import environment
from recbench.base.files import write_text
from recbench.base.layout import SPEC, fit_folder
from recbench.base.lifetime import end_with_parent
from recbench.base.progress import Reporter, Silent
from recbench.dataset import split
from recbench.errors import UsageError
from recbench.method import Method, ParentFit, RunContext, Stopped
from recbench.planning import registry, resolve
from recbench.planning.engine_choices import SCORES
from recbench.planning.plugins import extensions
from recbench.ranking import as_ranking
from recbench.results import fit_seal
from recbench.results.fit_record import Facts, FitRecord, RankRecord
from recbench.results.spec import FitSpec
from recbench.running import handover, processes
from recbench.running.attempts import Attempts, last_of_each_step
from recbench.running.costs.energy import Energy, energy_of
from recbench.running.failures import MethodError, failure_of
from recbench.running.guard import process
from recbench.running.guard.audit import packages
from recbench.running.guard.bounds import bounds
from recbench.running.processes import Place
from recbench.running.task import Task
from recbench.stages import StageCache

PROGRESS_SECONDS = 0.2


class LineReporter:
    """Sends progress and messages as JSON lines, appends the curve to a file and adds up the counts."""

    def __init__(self, lines: TextIO, curve: TextIO) -> None:
        self._lines = lines
        self._curve = curve
        self._last_progress = 0.0
        self._last_stage = ""
        self.counts: dict[str, int] = {}

    def progress(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        late = now - self._last_progress >= PROGRESS_SECONDS
        if late or done >= total or stage != self._last_stage:
            self._last_progress, self._last_stage = now, stage
            self.send("progress", stage=stage, done=int(done), total=int(total))

    def log(self, **values: float | int | str) -> None:
        if "message" in values:
            self.send("message", text=str(values.pop("message")))
            if not values:
                return
        record = {key: value.item() if hasattr(value, "item") else value for key, value in values.items()}
        self._curve.write(json.dumps(record) + "\n")
        self._curve.flush()

    def count(self, **values: int) -> None:
        for key, value in values.items():
            self.counts[key] = self.counts.get(key, 0) + int(value)

    def send(self, event: str, **values: Any) -> None:
        try:
            _say(self._lines, event, **values)
        except BrokenPipeError:  # the driver is gone, so the work is not needed
            raise KeyboardInterrupt from None


def main(arguments: list[str]) -> int:
    verb, path = arguments
    end_with_parent()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a scheduler's signal is for the driver
    with _own_stdout() as lines:
        try:
            task = Task.read(Path(path))
            energy = energy_of(task.device, os.environ)
            command = _guard(verb, task, Path(path).parent, lines)
            place = Place.of(os.environ, expected=task.processes)
            {"fit": fit, "rank": rank}[verb](task, lines, place, command, energy)
            _say(lines, "done")
        except KeyboardInterrupt:
            return 130
        except Stopped:
            _say(lines, "stopped")
        except Exception as error:
            traceback.print_exc()
            _say(lines, "failed", **failure_of(error))
            return 1
    return 0


def _say(lines: TextIO, event: str, **values: Any) -> None:
    """In one write, because processes that share the work share the stream when they fail."""
    lines.write(json.dumps({"event": event, **values}) + "\n")
    lines.flush()


def _guard(verb: str, task: Task, folder: Path, lines: TextIO) -> Sequence[str]:
    """Bind this process before a plugin is loaded; the command that starts a module in a guarded child."""
    own = () if task.third_party else (task.stages.root,)
    written = [task.workdir, *own, *([task.out] if verb == "rank" else [])]
    for path in written:
        path.mkdir(parents=True, exist_ok=True)
    limits = bounds(
        closed=task.closed,
        split=task.split,
        cache=task.cache,
        written=written,
        temporary=folder / "tmp",
        alone=task.third_party,
    )
    brought = [registry.available().get(task.spec.fit.method), *extensions.points_of(task.spec)]
    method = sorted({package for point in brought for package in packages(point)})
    return process.enter_telling(
        limits, mode=task.guard, method=method, cache=task.cache, folder=folder, descriptor=lines.fileno()
    )


def fit(task: Task, lines: TextIO, place: Place, command: Sequence[str], energy: Energy) -> None:
    """Train in the fit's folder, and seal it; the marker is written last."""
    workdir = task.workdir
    workdir.mkdir(parents=True, exist_ok=True)
    data = split.load_training(task.split)
    stages = replace(task.stages, energy=energy)
    if not place.main:
        with _method_code():
            method, context = _build(task, stages, Silent(), place, command)
            method.fit(data, run=context)
        return
    spent = Attempts(workdir / "attempts.jsonl", stages)
    write_text(workdir / SPEC, json.dumps(asdict(task.spec.fit), indent=1, sort_keys=True))
    with (workdir / "train.jsonl").open("a") as curve:
        report = LineReporter(lines, curve)
        with spent.counted(), _method_code():
            method, context = _build(task, stages, report, place, command)
            method.fit(data, run=context)
    points = last_of_each_step((workdir / "train.jsonl").read_text().splitlines())
    write_text(workdir / "train.jsonl", "".join(line + "\n" for line in points))
    with _method_code():
        facts = Facts.read(workdir)
    FitRecord(
        spent=spent.total(),
        counts=report.counts,
        facts=facts,
        peak=environment.peak_memory(),
        device=task.device,
        threads=task.threads,
        processes=task.processes,
        parents=_parents(task),
    ).write(workdir)
    fit_seal.seal(workdir)


def rank(task: Task, lines: TextIO, place: Place, command: Sequence[str], energy: Energy) -> None:
    """Restore the fit and rank the phase's requests; the ranking is checked before it is written."""
    data = split.load_training(task.split)
    protocol = task.spec.protocol
    requests = split.load_requests(task.split, task.spec.phase, exclude_seen=protocol["exclude_seen"])
    if task.rows is not None:
        requests = requests.take(np.array(task.rows, dtype=np.int64))
    with Path(os.devnull).open("w") as curve:
        report = LineReporter(lines, curve)
        start, drawn = time.perf_counter(), energy()
        with _method_code():
            reporter: Reporter = report if place.main else Silent()
            method, context = _build(task, task.stages, reporter, place, command)
            method.load(data, run=context)
            loaded = time.perf_counter() - start
            shares = processes.shares(method, requests, place.world_size)
            rows = shares[place.rank]
            share = as_ranking(method.rank(requests.take(rows), k=protocol["depth"]))
            ranking = processes.gather(task.out, place, shares, share)
        if ranking is None:
            return
        with _method_code():
            seconds = time.perf_counter() - start
            ranking.check(requests, num_items=data.num_items, depth=protocol["depth"])
            stats = {key: float(value) for key, value in ranking.stats.items() if np.isfinite(value)}
    peak = environment.peak_memory()
    record = RankRecord(
        seconds=seconds,
        load_seconds=loaded,
        stats=stats,
        peak=peak,
        processes=task.processes,
        millijoules=environment.energy_between(drawn, energy()),
    )
    handover.leave(task.out, ranking, record)


def _build(
    task: Task, stages: StageCache, report: Reporter, place: Place, command: Sequence[str]
) -> tuple[Method, RunContext]:
    plugin = registry.load(task.spec.fit.method)
    run = RunContext(
        seed=task.spec.fit.seed or 0,
        workdir=task.workdir,
        stages=replace(stages, progress=report.progress),
        parent=_parent(task),
        device=task.device,
        threads=task.threads,
        offline=task.offline,
        report=report,
        rank=place.rank,
        world_size=place.world_size,
        stop=task.stop,
        module_command=command,
    )
    llm = resolve.rebuild_llm_settings(task.spec) if plugin.traits.kind == "llm" else None
    return plugin.build(task.spec.fit.params), run if llm is None else run.with_llm(llm)


def _parents(task: Task) -> list[str]:
    """The fits that this one descends from, the nearest first."""
    parent = task.spec.fit.parent
    return [] if parent is None else [parent, *FitRecord.read(fit_folder(task.cache, parent)).parents]


def _parent(task: Task) -> ParentFit | None:
    ancestors = [fit_folder(task.cache, fit) for fit in _parents(task)]
    if not ancestors:
        return None
    tokens = sum(FitRecord.read(folder).counts.get("trained_tokens", 0) for folder in ancestors)
    fit = FitSpec(**json.loads((ancestors[0] / SPEC).read_text()))
    llm = resolve.rebuild_llm_settings(replace(task.spec, fit=fit, ranker=SCORES))
    if llm is None:
        raise UsageError(f"the parent {ancestors[0].name} is a fit of '{fit.method}', no language model")
    return ParentFit(id=ancestors[0].name, workdir=ancestors[0], trained_tokens=tokens, llm=llm)


@contextmanager
def _method_code() -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise MethodError from error


@contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """The real stdout for events alone; file descriptor 1 and `sys.stdout` become stderr."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as lines:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        yield lines


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
