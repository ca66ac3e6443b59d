"""Time a run before its first: the method's real fit on a few rows and the ranking of a few users, here.

The fit learns from the whole split with its real settings but for `train.max_rows`, so that it has a few
optimiser steps of full size; what goes forward by rows is extrapolated, everything else counts once, with the
shared stages that the fit makes on its way. A fit without such a setting runs to its end, or as far as the
limit lets it. All of it lies in a temporary root, which is removed: no run, fit or stage of it can be reused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recbench.base.environment import PeakMemory
from recbench.base.files import scratch
from recbench.base.layout import fit_folder
from recbench.base.progress import DRAWING, Listener
from recbench.base.root import Root
from recbench.base.words import plural
from recbench.errors import RecbenchError
from recbench.planning.cost_estimate import Estimate, kind_of
from recbench.planning.plan import Planned
from recbench.planning.resolve import rebuild_llm_settings
from recbench.results.fit_record import FitRecord, RankRecord
from recbench.running.costs.extrapolation import Moment, extrapolated, paces, remaining
from recbench.running.failures import RecordedError
from recbench.running.guard.closed import closed_for
from recbench.running.local import LocalPool, slot_of
from recbench.running.one_run import Driver, fit_now, task_of
from recbench.running.workers import Progress, Slot
from recbench.settings import SELECTION_USERS, SELECTIONS

BY_ROWS = {"reference", "lists"}
"""Kinds of shared stages that take longer with more rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a run is done to time it."""

    steps: int = 4
    """Optimiser steps of a stage, at least."""
    users: int = 64
    """Users that are ranked; a batch of the ranker's, where that is more."""
    seconds: float = 60.0
    """For the fit and the ranking of one kind of run together, without its parent's fit."""


@dataclass(slots=True)
class _Clock:
    """Keeps the progress of a fit with its times, and passes it on."""

    show: Progress
    began: float = field(default_factory=time.monotonic)
    moments: list[Moment] = field(default_factory=list)

    def progress(self, stage: str, done: int, total: int) -> None:
        self.moments.append(Moment(time.monotonic() - self.began, stage, done, total))
        self.show(stage, done, total)


def time_kinds(
    planned: Sequence[Planned],
    root: Root,
    *,
    limits: Limits,
    gpus: Mapping[str, int],
    offline: bool,
    listener: Listener,
) -> dict[str, Estimate | str]:
    """What each kind of these runs will take, by `kind_of`; where it could not be timed, why.

    `gpus` is the number of GPUs of a run, by the run's name. Raises KeyboardInterrupt; nothing stays.
    """
    kinds = {kind_of(run.spec): run for run in reversed(planned)}
    found: dict[str, Estimate | str] = {}
    with _temporary(root) as place:
        driver = Driver.of(place, listener, offline=offline)
        for kind, run in reversed(kinds.items()):
            listener.say(f"{run.name}: timing a few steps and users")
            closed = [*closed_for(run.spec.fit.dataset, root), root.cache / "split", root.cache / "raw"]
            here = replace(driver, closed=[*closed, place.runs])
            try:
                slot = slot_of(root, gpus.get(run.resolved.name, 1), LocalPool(seconds=limits.seconds))
                found[kind] = _timed(run, short(run, limits.steps), here, slot, limits)
            except RecordedError as error:
                found[kind] = f"not timed: {error}"
            except RecbenchError as error:
                found[kind] = f"not timed: {error.what}"
    return found


@contextmanager
def _temporary(root: Root) -> Iterator[Root]:
    """A root in the cache, where there is room for weights; `gc` removes it if this process is killed."""
    root.cache.mkdir(parents=True, exist_ok=True)
    with scratch(root.cache) as folder:
        yield replace(root, path=Path(folder))


def short(run: Planned, steps: int) -> Planned:
    """The same run, and its parent's, with rows for so many steps a stage, saved once, its last weights kept.

    A budget of tokens is cut so that what the parent leaves of it is the same share of what it would leave.
    """
    if run.spec.fit.llm is None:
        return run
    parent = None if run.parent is None else short(run.parent, steps)
    llm: dict[str, Any] = {**run.spec.fit.llm, "train": dict(run.spec.fit.llm["train"])}
    llm.pop("selected_by", None)
    train = llm["train"]
    epochs = float(train["budget_epochs"] or train["epochs"])
    rows = int(train["batch"]) * math.ceil(steps / epochs)
    train |= {"max_rows": min(rows, train["max_rows"] or rows)}
    train |= {"checkpoints": 1, "select": "last", "patience": 0}
    if train["budget_epochs"]:
        used = 0.0 if run.parent is None else float((run.parent.spec.fit.llm or {})["train"]["epochs"])
        train["budget_epochs"] = _share(run, rows) * (epochs - used)
        train["budget_epochs"] += 0.0 if parent is None else used * _share(run, _rows(parent))
    start = run.spec.fit.parent if parent is None else parent.spec.fit.id
    fit = replace(run.spec.fit, llm=llm, parent=start)
    return replace(run, spec=replace(run.spec, fit=fit), parent=parent)


def _rows(trial: Planned) -> int:
    """Rows of a stage; 0 for a fit that has no such setting."""
    return 0 if trial.spec.fit.llm is None else int(trial.spec.fit.llm["train"]["max_rows"])


def _share(run: Planned, rows: int) -> float:
    """The share of the training targets that so many rows are."""
    counts = run.split.statistics
    targets = counts.training_targets if counts.sampled_targets is None else counts.sampled_targets
    return float(min(1.0, rows / targets))


def _timed(run: Planned, trial: Planned, driver: Driver, slot: Slot, limits: Limits) -> Estimate:
    """Raises RecordedError where a worker failed, RecbenchError where the limit came before two steps."""
    if trial.parent is not None:
        fit_now(trial.parent, driver, slot, driver.listener.progress)
    slot, clock = slot.started(), _Clock(driver.listener.progress)
    try:
        fit_now(trial, driver, slot, clock.progress)
    except RecordedError as error:
        if error.record["class"] != "timeout":
            raise
        found = paces(clock.moments, shared=BY_ROWS)
        if not found:
            few = f"{limits.seconds:g} seconds are too few for two steps of its own"
            raise RecbenchError(f"{few}; try a longer --measure-limit") from None
        last = clock.moments[-1]
        factor = _factor(run, trial, _drawn(clock.moments)) if _rows(trial) else 1.0
        return Estimate(
            seconds=extrapolated(last.at + remaining(clock.moments), found, factor),
            host_bytes=0,
            like=f"{last.done} of {last.total} of its {last.stage} here; the ranking was not reached",
            device=slot.device,
            timed=True,
        )
    fitted = FitRecord.read(fit_folder(driver.root.cache, trial.spec.fit.id))
    found = paces(clock.moments, shared=BY_ROWS)
    seconds = extrapolated(fitted.spent.seconds, found, _factor(run, trial, fitted.counts))
    steps = fitted.counts.get("steps", 0)
    fit = plural(steps, "step") if _rows(trial) and steps else "its fit"
    known = Estimate(
        seconds=seconds,
        host_bytes=fitted.peak.host_bytes,
        gpu_bytes=fitted.peak.gpu_bytes,
        like=f"{fit} here; the ranking was not reached",
        device=slot.device,
        timed=True,
    )
    total = run.split.statistics.requests[run.spec.phase]
    llm = rebuild_llm_settings(run.spec)
    # a batch that is not full takes less memory and more time per user
    users = min(total, limits.users if llm is None else max(limits.users, llm.ranker.batch))
    try:
        ranked = _rank(trial, driver, slot, np.linspace(0, total - 1, users).astype(int).tolist())
    except RecordedError as error:
        if error.record["class"] != "timeout":
            raise
        return known
    each = (ranked.seconds - ranked.load_seconds) / users
    ranking = ranked.load_seconds + total * each
    return _with_peak(
        replace(
            known,
            seconds=seconds + ranking + each * _selected_on(run),
            rank_seconds=ranking,
            like=f"{fit} and {plural(users, 'user')} here",
        ),
        ranked.peak,
    )


def _drawn(moments: Sequence[Moment]) -> dict[str, int]:
    """What a fit that did not end has said of its rows."""
    said = [moment for moment in moments if moment.stage == DRAWING]
    return {"drawn_rows": said[-1].done, "all_rows": said[-1].total} if said else {}


def _factor(run: Planned, trial: Planned, counts: Mapping[str, int]) -> float:
    """How many times as much the real fit learns from: rows, or tokens where there is a budget of them."""
    rows, train = _rows(trial), (run.spec.fit.llm or {}).get("train", {})
    if train.get("budget_epochs"):
        return 1 / _share(run, rows)
    drawn = counts.get("drawn_rows")
    if not drawn:
        return 1.0  # it has no more rows
    there = rows * counts["all_rows"] / drawn
    return min(there, train["max_rows"] or there) / rows


def _selected_on(run: Planned) -> int:
    """Validation requests that the real fit ranks to choose among its weights, in each stage that does."""
    if (run.spec.fit.llm or {}).get("train", {}).get("select") != "best":
        return 0
    return SELECTIONS * min(SELECTION_USERS, run.split.statistics.requests["valid"])


def _rank(trial: Planned, driver: Driver, slot: Slot, rows: Sequence[int]) -> RankRecord:
    with scratch(driver.root.cache) as folder:
        task = replace(task_of(trial, driver, slot, Path(folder) / "ranking"), rows=rows)
        log, guard = Path(folder) / "log.txt", Path(folder) / "guard.json"
        say, progress = partial(driver.tell, trial), driver.listener.progress
        driver.workers.run("rank", task, slot, log, progress, say=say, guard=guard)
        return RankRecord.read(task.out)


def _with_peak(known: Estimate, peak: PeakMemory) -> Estimate:
    on_gpu = [value for value in (known.gpu_bytes, peak.gpu_bytes) if value is not None]
    return replace(
        known, host_bytes=max(known.host_bytes, peak.host_bytes), gpu_bytes=max(on_gpu, default=None)
    )
