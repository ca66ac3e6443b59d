"""A planned run becomes a bundle: fit and ranking in worker processes, then metrics and manifest."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from recbench.base import environment, locks
from recbench.base.clock import now
from recbench.base.files import read_plain
from recbench.base.layout import COMPLETE, fit_folder, records_folder, run_lock
from recbench.base.progress import Listener
from recbench.base.root import Root
from recbench.errors import CheckError, DigestError
from recbench.planning import description
from recbench.planning.plan import Planned
from recbench.results import bundle, evaluate, fit_seal
from recbench.results.bundle import Bundle
from recbench.results.evaluate import EvaluationSet
from recbench.results.fit_record import Facts, FitRecord, RankRecord
from recbench.results.fit_seal import LOG
from recbench.results.guarded import GUARD, Guarded, joined
from recbench.results.manifest import Manifest
from recbench.results.method_code import MethodCode
from recbench.results.spec import RunSpec
from recbench.running import handover
from recbench.running.costs.standalone import efficiency
from recbench.running.failures import MethodError, RecordedError, failure_of, of_method
from recbench.running.guard.closed import closed_for
from recbench.running.task import Task
from recbench.running.workers import Progress, Slot, Workers

SCORED_BESIDE = "scored in a process that had imported {}"
"""A mark of a run that was started from Python, where the user's code runs too."""
MOST_MESSAGES, LONGEST_MESSAGE = 20, 300
"""So many messages of a run are shown, and so many letters of each: a method may send what it likes."""
MOVED_NATS = 1e-3
"""A policy that moved less than this from its parent did not train."""


class ParentFailedError(RecordedError):
    """The parent of a run failed; the record is the parent's."""

    def __init__(self, parent: Planned, record: Mapping[str, Any]) -> None:
        message = f"its parent {parent.spec.id} ({parent.name}) failed: {record.get('message', '')}"
        super().__init__(message, {**record, "message": message})


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """What the runs of a command share: root, listener, workers, and the provenance that is recorded."""

    root: Root
    offline: bool
    listener: Listener
    versions: Mapping[str, str]
    code: Mapping[str, Any]
    hardware: Mapping[str, Any]
    workers: Workers = field(default_factory=Workers)
    newer_than: datetime | None = None
    """Bundles that are older are made again; None: every finished bundle is reused."""
    beside: Sequence[str] = ()
    """Packages of third parties' methods that this process has imported: they may have changed it."""
    closed: Sequence[Path] | None = None
    """What is closed to workers; None: what `closed_for` finds under the root."""
    told: dict[str, str] = field(default_factory=dict)
    """The messages that were shown, each with the run that it was shown for."""
    _telling: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(
        cls,
        root: Root,
        listener: Listener,
        *,
        distributions: Iterable[str] = (),
        offline: bool = False,
        workers: Workers | None = None,
        newer_than: datetime | None = None,
    ) -> Driver:
        """Record this machine, the code, and the versions of libraries and of plugins' `distributions`."""
        return cls(
            root=root,
            offline=offline or root.offline,
            listener=listener,
            versions=environment.versions(*sorted(set(distributions))),
            code=environment.code(),
            hardware=environment.hardware(),
            workers=Workers() if workers is None else workers,
            newer_than=newer_than,
            beside=description.imported(),
        )

    def tell(self, run: Planned, text: str) -> None:
        """Show a message of a run on a line under its name, unless a run of this command had the same."""
        line = " ".join(text.split())[:LONGEST_MESSAGE]
        with self._telling:
            if line in self.told or list(self.told.values()).count(run.spec.id) >= MOST_MESSAGES:
                return
            self.told[line] = run.spec.id
        self.listener.say(f"{run.spec.id}  {run.name}: {line}")


def run_one(run: Planned, driver: Driver, slot: Slot, progress: Progress | None = None) -> Bundle:
    """The bundle of a run, made now unless a complete, undamaged run exists; a failed run is a bundle too.

    Raises KeyboardInterrupt, or Stopped where the workers were asked to stop; the same call continues.
    """
    progress = driver.listener.progress if progress is None else progress
    with _alone(driver, run_lock(driver.root, run.spec.id), run, run.name):
        known = finished(run, driver)
        if known is not None:
            driver.listener.say(f"{run.spec.id}  {run.name}: reused")
            return known
        driver.listener.say(f"{run.spec.id}  {run.name}: running")
        staging = bundle.create(driver.root.runs, run.spec.id)
        started, slot = now(), slot.started()
        try:
            folder = _finish(run, driver, slot, progress, staging, started)
        except Exception as error:
            record = _record_of(error, run)
            folder = fail(run, driver, record, staging=staging, started=started)
            what = record.get("what", record["message"])
            driver.listener.say(f"{run.spec.id}  {run.name}: failed ({record['class']}): {what}")
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return bundle.load(folder)


def _record_of(error: Exception, run: Planned) -> Mapping[str, Any]:
    if isinstance(error, ParentFailedError):
        return error.record
    return of_method(
        error.record if isinstance(error, RecordedError) else failure_of(error),
        method=run.spec.fit.method,
        package=f"{run.code.distribution} {run.code.version}",
        place=run.resolved.plugin.place,
    )


def fail(
    run: Planned,
    driver: Driver,
    record: Mapping[str, Any],
    *,
    staging: Path | None = None,
    started: str | None = None,
) -> Path:
    """The bundle of a run that failed for the reason in `record` (`class`, `message`, ...)."""
    staging = bundle.create(driver.root.runs, run.spec.id) if staging is None else staging
    parts = [*_guarded_fits(run, driver), Guarded.take(staging / GUARD)]
    guarded = joined([part for part in parts if part is not None])
    manifest = _manifest(run, driver, started or now(), Facts(), guarded)
    return bundle.finish(staging, manifest, status="failed", reason={**record, "reason": record["message"]})


def finished(run: Planned, driver: Driver) -> Bundle | None:
    """The complete bundle of an earlier command; None without run, and where it has changed since or is
    older than `driver.newer_than`."""
    folder = driver.root.runs / run.spec.id
    if bundle.status(folder) != "complete":
        return None
    if driver.newer_than is not None and bundle.finished_at(folder) < driver.newer_than:
        return None
    try:
        return bundle.load(folder)
    except DigestError as error:
        driver.listener.say(f"warning: {error.what} ({error.why}); it is made again")
        return None


def _finish(
    run: Planned, driver: Driver, slot: Slot, progress: Progress, staging: Path, started: str
) -> Path:
    slot, workdir = _slot_for(run, slot), fit_folder(driver.root.cache, run.spec.fit.id)
    try:
        fit_now(run, driver, slot, progress)
    finally:
        _copy_logs(workdir, staging)
    fitted = _fitted(run, driver)
    asked = EvaluationSet.load(run.split.folder, run.spec.phase)
    ranked = _rank(run, driver, slot, progress, staging, asked)
    guarded = joined(
        [part or Guarded() for part in (*_guarded_fits(run, driver), Guarded.take(staging / GUARD))]
    )
    parents = [FitRecord.read(fit_folder(driver.root.cache, parent)) for parent in fitted.parents]
    scored = evaluate.score_into(staging, asked, cutoffs=run.spec.protocol["cutoffs"])
    bundle.write_json(staging / "efficiency.json", efficiency(fitted, ranked, parents))
    manifest = replace(
        _manifest(run, driver, started, fitted.facts, guarded),
        did_not_train=did_not_train(run, fitted.facts),
        num_requests=scored.num_requests,
        certified_share=scored.certified_share,
        nodes_per_user=ranked.stats.get("nodes_per_user"),
    )
    return bundle.finish(staging, manifest, status="complete")


def _rank(
    run: Planned, driver: Driver, slot: Slot, progress: Progress, staging: Path, asked: EvaluationSet
) -> RankRecord:
    """Rank in a folder that is the worker's, and write what it left into `staging`, which is not."""
    folder = bundle.create(driver.root.runs, f"{run.spec.id}.ranking")
    try:
        task, log = task_of(run, driver, slot, folder), staging / "log.txt"
        say = partial(driver.tell, run)
        driver.workers.run("rank", task, slot, log, progress, say=say, guard=staging / GUARD)
        masked = asked.requests.excluded if run.spec.protocol["exclude_seen"] else None
        requests = replace(asked.requests, excluded=masked)
        ranking, record = handover.take(folder, requests, num_items=len(asked.catalogue), spec=run.spec)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bundle.write_arrays(staging / handover.TOPK, **handover.arrays(ranking))
    return record


def fit_now(run: Planned, driver: Driver, slot: Slot, progress: Progress) -> None:
    """Train the fit of this run unless it is finished, and before it its parent's fit, whose weights may be
    gone while the parent's bundle exists. A parent that has just failed is not tried again for each child."""
    workdir = fit_folder(driver.root.cache, run.spec.fit.id)
    parent = run.parent
    if parent is not None and not (fit_folder(driver.root.cache, parent.spec.fit.id) / COMPLETE).exists():
        folder = driver.root.runs / parent.spec.id
        if bundle.status(folder) == "failed":
            raise ParentFailedError(parent, bundle.reason(folder))
        fit_now(parent, driver, _slot_for(parent, slot), progress)
    with _alone(driver, driver.root.cache / "locks" / f"fit-{run.spec.fit.id}", run, f"fitting {run.name}"):
        if _is_stale(workdir, driver) or _is_of_other_code(run, driver):
            shutil.rmtree(workdir)
        if (workdir / COMPLETE).exists():
            return
        for ancestor in _ancestors(run, driver):
            fit_seal.check(fit_folder(driver.root.cache, ancestor))
        records = records_folder(driver.root.cache, run.spec.fit.id)
        if not workdir.exists():
            shutil.rmtree(records, ignore_errors=True)
        for folder in (workdir, records):
            folder.mkdir(parents=True, exist_ok=True)
        run.code.write(records)
        task = task_of(run, driver, slot, out=driver.root.cache)
        say = partial(driver.tell, run)
        driver.workers.run("fit", task, slot, workdir / LOG, progress, say=say, guard=records / GUARD)


def _fitted(run: Planned, driver: Driver) -> FitRecord:
    """What the run's fit recorded of itself. DigestError where a file of it, or of a fit that it descends
    from, has changed; MethodError where it is no record of this fit."""
    cache, ancestors = driver.root.cache, _ancestors(run, driver)
    for fit in (run.spec.fit.id, *ancestors):
        fit_seal.check(fit_folder(cache, fit))
    try:
        fitted = FitRecord.read(fit_folder(cache, run.spec.fit.id))
        if list(fitted.parents) != ancestors:
            raise CheckError(
                "the record of the fit names other parents than its own",
                why=f"{', '.join(fitted.parents) or 'none'}; they are {', '.join(ancestors) or 'none'}",
            )
    except CheckError as error:
        raise MethodError from error
    return fitted


def _ancestors(run: Planned, driver: Driver) -> list[str]:
    """The fits that the run's descends from, the nearest first. Its own record, which the method's process
    writes, has no say in it."""
    parent = run.spec.fit.parent
    if parent is None:
        return []
    if run.parent is not None:
        return [parent, *_ancestors(run.parent, driver)]
    try:  # the user named a fit, which no selection gives
        return [parent, *FitRecord.read(fit_folder(driver.root.cache, parent)).parents]
    except (CheckError, OSError):
        return [parent]


def _is_stale(workdir: Path, driver: Driver) -> bool:
    """Whether the fit began before `driver.newer_than`, so that nothing of it may be used."""
    since = driver.newer_than
    times = [path.stat().st_mtime for path in workdir.iterdir()] if workdir.is_dir() else []
    return since is not None and bool(times) and datetime.fromtimestamp(min(times), UTC) < since


def _is_of_other_code(run: Planned, driver: Driver) -> bool:
    """Whether other code made the fit, or began it: it cannot be that of this run."""
    made = MethodCode.of_fit(driver.root.cache, run.spec.fit.id)
    if made is None or made.is_that_of(run.code):
        return False
    driver.listener.say(f"{run.spec.id}  {run.name}: its fit is made again ({made}; here is {run.code})")
    return True


def _slot_for(run: Planned, slot: Slot) -> Slot:
    """Only the engine of language models shares its work between processes."""
    return slot if run.spec.fit.llm is not None else slot.alone()


def task_of(run: Planned, driver: Driver, slot: Slot, out: Path) -> Task:
    """The task of a worker that fits or ranks the run; a ranking is left in `out`."""
    return Task(
        spec=run.spec,
        split=run.split.folder,
        cache=driver.root.cache,
        out=out,
        device=slot.device,
        threads=max(1, slot.threads // slot.processes),
        offline=driver.offline,
        processes=slot.world_size,
        stop=driver.workers.stop,
        guard=driver.root.guard,
        third_party=description.runs_third_party(run.spec),
        closed=tuple(
            closed_for(run.spec.fit.dataset, driver.root) if driver.closed is None else driver.closed
        ),
    )


def _guarded_fits(run: Planned, driver: Driver) -> list[Guarded | None]:
    """What the guard told of the run's fit, and of those that it descends from; None where nothing."""
    cache = driver.root.cache
    return [
        Guarded.read(records_folder(cache, fit) / GUARD) or Guarded.read(fit_folder(cache, fit) / GUARD)
        for fit in (run.spec.fit.id, *_ancestors(run, driver))  # the second is where earlier versions kept it
    ]


def did_not_train(run: Planned, facts: Facts) -> bool:
    """Whether the policy stayed at its parent, so that the run shows nothing of its method."""
    starts_from_parent = run.resolved.plugin.traits.starts_from == "parent"
    return starts_from_parent and facts.moved_nats is not None and facts.moved_nats < MOVED_NATS


def _manifest(run: Planned, driver: Driver, started: str, facts: Facts, guarded: Guarded) -> Manifest:
    return Manifest(
        spec=run.spec,
        label=run.label,
        params=run.resolved.changed,
        digests={**run.split.digests, **engine_digests(run.spec, facts)},
        statistics=run.split.statistics.to_json(),
        versions=driver.versions,
        code=driver.code,
        method_code=run.code,
        hardware=driver.hardware,
        started=started,
        finished=now(),
        off_protocol=bool(run.off_protocol),
        reasons=run.off_protocol,
        facts=facts,
        guard=replace(guarded, marks=(*guarded.marks, *map(SCORED_BESIDE.format, driver.beside))),
    )


def engine_digests(spec: RunSpec, facts: Facts) -> dict[str, str]:
    """The links that a language model adds to the chain of digests; unknown links are left out."""
    llm = spec.fit.llm or {}
    links = {
        "identifiers": facts.identifiers,
        "prompt": llm.get("prompt"),
        "backbone": llm.get("backbone_digest"),
    }
    return {name: str(link) for name, link in links.items() if link}


def _copy_logs(workdir: Path, staging: Path) -> None:
    """Copy log and curve of the fit so far, over all attempts; the ranking adds to the log."""
    for name in (LOG, "train.jsonl"):
        with suppress(OSError):  # not there, or a link
            (staging / name).write_bytes(read_plain(workdir / name))


@contextmanager
def _alone(driver: Driver, lock: Path, run: Planned, what: str) -> Iterator[None]:
    """Hold a lock: a second process waits, and then reuses the result."""

    def waiting(owner: locks.Owner | None) -> None:
        driver.listener.say(f"{run.spec.id}  {run.name}: waiting for {locks.holder(owner)}, which runs it")

    with locks.hold(lock, what, waiting=waiting, give_up=driver.workers.ended.is_set):
        yield
