"""One trial of a method, in a process of its own that is guarded as a worker is.

It tells in JSON lines what it found, and leaves its rankings in files.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from recbench.base import environment
from recbench.base.lifetime import end_with_parent
from recbench.base.progress import Reporter, Silent
from recbench.conformance.forms import FORMS, requests_with_new_numbers, with_new_numbers
from recbench.conformance.parameters import undocumented, wrong_defaults
from recbench.conformance.watch import StateWatch
from recbench.data import Requests, TrainingData
from recbench.dataset.split import load_requests, load_training
from recbench.errors import RecbenchError
from recbench.method import Method, ParentFit, RunContext
from recbench.planning import registry
from recbench.planning.registry import Plugin
from recbench.ranking import Ranking, as_ranking
from recbench.results.bundle import write_arrays
from recbench.results.llm_record import llm_of
from recbench.running.guard import process
from recbench.running.guard.audit import kinds, packages
from recbench.running.guard.bounds import bounds
from recbench.running.handover import arrays
from recbench.stages import StageCache

LEARNING = ("torch", "transformers", "tensorflow", "jax", "scipy", "sklearn", "pandas", "recbole", "mlflow")
"""Libraries that are slow to import."""
KILLED = 75
"""The exit code of a fit that was to be killed in its middle."""
DEPTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodTrial:
    """A fit, if `fit` says so, and rankings of its folder in several forms."""

    method: str
    split: str
    cache: str
    closed: tuple[str, ...]
    out: str
    params: Mapping[str, Any] = field(default_factory=dict)
    key: str
    """Begins the names of the folders of fits and stages."""
    folder: str = "first"
    """Ends the name of the fit's folder."""
    stages: str = "stages"
    seed: int = 0
    fit: bool = True
    forms: tuple[str, ...] = ()
    llm: Mapping[str, Any] | None = None
    parent: Mapping[str, Any] | None = None
    new_numbers: int | None = None
    """Items are renumbered by this seed."""
    kill_at: int | None = None
    """The process ends at so many calls of the fit's reporter."""
    only: Literal["", "class", "loss"] = ""
    """Nothing else is looked at."""

    @property
    def workdir(self) -> Path:
        return Path(self.cache) / "fits" / f"{self.key}-{self.folder}"

    @property
    def stages_folder(self) -> Path:
        return Path(self.cache) / f"{self.key}-{self.stages}"


def main(file: Path, lines: TextIO) -> int:
    """Make the trial that `file` describes in this process, which is bound for good; the exit code."""
    end_with_parent()
    trial = MethodTrial(**json.loads(file.read_text(encoding="utf-8")))
    try:
        TRIED[trial.only](trial, lines)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        tell(lines, failed=_said(error, trial.method))
        return 1
    tell(lines, done=True)
    return 0


def tell(lines: TextIO, **found: Any) -> None:
    lines.write(json.dumps(found) + "\n")
    lines.flush()


def _said(error: BaseException, method: str) -> dict[str, str]:
    """What was raised, and the innermost line of the method's own package where there is one."""
    if isinstance(error, RecbenchError):
        return {"what": error.what, "why": error.why, "fix": error.fix}
    kind = kinds(packages(registry.available().get(method)))
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if kind(frame.filename) == "method"] or frames
    return {
        "what": f"{type(error).__name__}: {error}",
        "why": f"raised at {own[-1].filename}:{own[-1].lineno}" if own else "",
        "fix": "",
    }


def _look(trial: MethodTrial, lines: TextIO) -> None:
    """Import the class, and tell what it brings along and how its parameters are."""
    start = time.perf_counter()
    plugin = registry.load(trial.method)
    tell(
        lines,
        seconds=time.perf_counter() - start,
        heavy=[name for name in LEARNING if name in sys.modules],
        undocumented=undocumented(plugin.cls),
        wrong_defaults=wrong_defaults(plugin.cls),
        place=plugin.place,
    )


def _compute_losses(trial: MethodTrial, lines: TextIO) -> None:
    """Build the method, guarded, and tell what its pair loss gives, if it has one."""
    _guard(trial, packages(registry.available().get(trial.method)), lines)
    try_loss = getattr(registry.load(trial.method).build(trial.params), "try_loss", None)
    tell(lines, losses=[] if try_loss is None else try_loss())


def _try(trial: MethodTrial, lines: TextIO) -> None:
    found = packages(registry.available().get(trial.method))
    command = _guard(trial, found, lines)
    watch = StateWatch(found, torch=trial.llm is not None or trial.parent is not None)
    plugin = registry.load(trial.method)
    if trial.llm is not None:
        plugin.identity(llm_of(trial.llm))
    data = load_training(Path(trial.split))
    order = None
    if trial.new_numbers is not None:
        order = np.random.default_rng(trial.new_numbers).permutation(data.num_items)
        data = with_new_numbers(data, order)
    reporter = Counting(trial.kill_at)
    method, run = _built(plugin, trial, reporter, command)
    watch.begin()
    start = time.perf_counter()
    if trial.fit:
        method.fit(data, run=run)
        tell(lines, fit_seconds=time.perf_counter() - start)
        tell(lines, calls=reporter.calls, tokens=reporter.trained_tokens)
        method, run = _built(plugin, trial, Silent(), command)
    start = time.perf_counter()
    if trial.forms:
        method.load(data, run=run)
    for name in trial.forms:
        requests = load_requests(Path(trial.split), FORMS[name].phase, exclude_seen=False)
        if order is not None:
            requests = requests_with_new_numbers(requests, order)
        try:
            ranking = FORMS[name].ask(lambda asked: _ranked(method, asked, data), requests)
        except Exception as error:
            traceback.print_exc()
            tell(lines, form=name, failed_form=_said(error, trial.method))
            continue
        write_arrays(Path(trial.out) / f"{name}.npz", **arrays(ranking))
        tell(lines, form=name)
    tell(lines, rank_seconds=time.perf_counter() - start, peak=environment.peak_memory().host_bytes)
    watch.end()
    tell(lines, touched=sorted(set(watch.found)))


TRIED = {"": _try, "class": _look, "loss": _compute_losses}


def _ranked(method: Method, requests: Requests, data: TrainingData) -> Ranking:
    depth = min(DEPTH, data.num_items)
    ranking = as_ranking(method.rank(requests, k=depth))
    ranking.check(requests, num_items=data.num_items, depth=depth)
    return ranking


def _guard(trial: MethodTrial, method: list[str], lines: TextIO) -> Sequence[str]:
    """Bind this process as a worker is; the command that starts a module in a guarded child."""
    written = [trial.workdir, trial.stages_folder, Path(trial.out)]
    for path in written:
        path.mkdir(parents=True, exist_ok=True)
    limits = bounds(
        closed=map(Path, trial.closed),
        split=Path(trial.split),
        cache=Path(trial.cache),
        written=written,
        temporary=Path(trial.out) / "tmp",
        alone=True,
    )
    return process.enter_telling(
        limits,
        mode="landlock",
        method=method,
        cache=Path(trial.cache),
        folder=Path(trial.out),
        descriptor=lines.fileno(),
    )


def _built(
    plugin: Plugin, trial: MethodTrial, report: Reporter, command: Sequence[str]
) -> tuple[Method, RunContext]:
    run = RunContext(
        seed=trial.seed,
        workdir=trial.workdir,
        stages=StageCache(trial.stages_folder),
        threads=1,
        offline=True,
        report=report,
        module_command=command,
        parent=None if trial.parent is None else _parent(trial.parent),
    )
    if trial.llm is not None:
        run = run.with_llm(llm_of(trial.llm))
    return plugin.build(trial.params), run


def _parent(record: Mapping[str, Any]) -> ParentFit:
    return ParentFit(
        id=record["id"],
        workdir=Path(record["workdir"]),
        trained_tokens=record["trained_tokens"],
        llm=llm_of(record["llm"]),
    )


class Counting(Silent):
    """Counts the calls of a fit, and ends the process at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.calls = 0
        self.trained_tokens = 0
        self._kill_at = kill_at

    def progress(self, stage: str, done: int, total: int) -> None:
        del stage, done, total
        self._called()

    def log(self, **values: float | int | str) -> None:
        del values
        self._called()

    def count(self, **values: int) -> None:
        self.trained_tokens += values.get("trained_tokens", 0)

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self._kill_at:
            os._exit(KILLED)
