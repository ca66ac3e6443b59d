"""One planned run to its bundle: its fit and its ranking in worker processes, then metrics and manifest."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recbench.base import environment, locks
from recbench.base.clock import now
from recbench.base.layout import COMPLETE, fit_folder, run_lock
from recbench.base.progress import Listener
from recbench.base.root import Root
from recbench.errors import DigestError
from recbench.planning.plan import Planned
from recbench.results import bundle, evaluate
from recbench.results.bundle import Bundle
from recbench.results.evaluate import EvaluationSet
from recbench.results.fit_record import Facts, FitRecord, RankRecord
from recbench.results.manifest import Manifest
from recbench.results.spec import RunSpec
from recbench.running.cost import efficiency
from recbench.running.failures import RecordedError, failure_of
from recbench.running.task import Task
from recbench.running.workers import Progress, Slot, Workers

MOVED_NATS = 1e-3
"""A policy that moved less from its parent did not train."""


class ParentFailedError(RecordedError):
    """What a run starts from could not be made; the record is its parent's."""

    def __init__(self, parent: Planned, record: Mapping[str, Any]) -> None:
        message = f"its parent {parent.spec.id} ({parent.name}) failed: {record.get('message', '')}"
        super().__init__(message, {**record, "message": message})


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """What all runs of one command share."""

    root: Root
    offline: bool
    listener: Listener
    versions: Mapping[str, str]
    code: Mapping[str, Any]
    hardware: Mapping[str, Any]
    workers: Workers = field(default_factory=Workers)
    newer_than: datetime | None = None
    """Bundles that are older are made again; None: every finished one is reused."""

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
        """With what is recorded of this machine and its libraries, those of plugins included."""
        return cls(
            root=root,
            offline=offline or root.offline,
            listener=listener,
            versions=environment.versions(*sorted(set(distributions))),
            code=environment.code(),
            hardware=environment.hardware(),
            workers=Workers() if workers is None else workers,
            newer_than=newer_than,
        )


def run_one(one: Planned, driver: Driver, slot: Slot, progress: Progress | None = None) -> Bundle:
    """This run's bundle, made now unless it is there, complete and undamaged; a failed run is a bundle too.

    Raises KeyboardInterrupt, or Stopped where the workers were asked to stop; the same call continues.
    """
    progress = driver.listener.progress if progress is None else progress
    with _alone(driver, run_lock(driver.root, one.spec.id), one, one.name):
        there = finished(one, driver)
        if there is not None:
            driver.listener.say(f"{one.spec.id}  {one.name}: reused")
            return there
        driver.listener.say(f"{one.spec.id}  {one.name}: running")
        staging = bundle.create(driver.root.runs, one.spec.id)
        started = now()
        try:
            folder = _finish(one, driver, slot, progress, staging, started)
        except Exception as error:
            record = error.record if isinstance(error, RecordedError) else failure_of(error)
            folder = fail(one, driver, record, staging=staging, started=started)
            what = record.get("what", record["message"])
            driver.listener.say(f"{one.spec.id}  {one.name}: failed ({record['class']}): {what}")
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return bundle.load(folder)


def fail(
    one: Planned,
    driver: Driver,
    record: Mapping[str, Any],
    *,
    staging: Path | None = None,
    started: str | None = None,
) -> Path:
    """The bundle of a run that failed for the reason in `record` (`class`, `message`, ...)."""
    staging = bundle.create(driver.root.runs, one.spec.id) if staging is None else staging
    manifest = _manifest(one, driver, started or now(), Facts())
    return bundle.finish(staging, manifest, status="failed", reason={**record, "reason": record["message"]})


def finished(one: Planned, driver: Driver) -> Bundle | None:
    """The complete bundle of an earlier command; None where there is none, where it has changed since, and
    where it is older than this driver wants."""
    folder = driver.root.runs / one.spec.id
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
    one: Planned, driver: Driver, slot: Slot, progress: Progress, staging: Path, started: str
) -> Path:
    slot, workdir = _slot_for(one, slot), fit_folder(driver.root.cache, one.spec.fit.id)
    try:
        _fit(one, driver, slot, progress)
    finally:
        _copy_logs(workdir, staging)
    task = _task(one, driver, slot, staging)
    driver.workers.run("rank", task, slot, staging / "log.txt", progress)
    fitted, ranked = FitRecord.read(workdir), RankRecord.take(staging)
    parents = [FitRecord.read(fit_folder(driver.root.cache, parent)) for parent in fitted.parents]
    asked = EvaluationSet.load(one.split.folder, one.spec.phase)
    scored = evaluate.score_into(staging, asked, cutoffs=one.spec.protocol["cutoffs"])
    bundle.write_json(staging / "efficiency.json", efficiency(fitted, ranked, parents))
    manifest = replace(
        _manifest(one, driver, started, fitted.facts),
        did_not_train=did_not_train(one, fitted.facts),
        num_requests=scored.num_requests,
        certified_share=scored.certified_share,
        nodes_per_user=ranked.stats.get("nodes_per_user"),
    )
    return bundle.finish(staging, manifest, status="complete")


def _fit(one: Planned, driver: Driver, slot: Slot, progress: Progress) -> None:
    """Train what this run ranks, unless that is done; and first its parent, whose weights may be gone
    although its bundle is there. A parent that has just failed is not tried again for each child."""
    workdir = fit_folder(driver.root.cache, one.spec.fit.id)
    parent = one.parent
    if parent is not None and not (fit_folder(driver.root.cache, parent.spec.fit.id) / COMPLETE).exists():
        folder = driver.root.runs / parent.spec.id
        if bundle.status(folder) == "failed":
            raise ParentFailedError(parent, bundle.reason(folder))
        _fit(parent, driver, _slot_for(parent, slot), progress)
    with _alone(driver, driver.root.cache / "locks" / f"fit-{one.spec.fit.id}", one, f"fitting {one.name}"):
        if _is_stale(workdir, driver):
            shutil.rmtree(workdir)
        if (workdir / COMPLETE).exists():
            return
        workdir.mkdir(parents=True, exist_ok=True)
        task = _task(one, driver, slot, out=driver.root.cache)
        driver.workers.run("fit", task, slot, workdir / "log.txt", progress)


def _is_stale(workdir: Path, driver: Driver) -> bool:
    """Whether the fit was begun before what this driver wants, so that nothing of it may be used."""
    since = driver.newer_than
    times = [path.stat().st_mtime for path in workdir.iterdir()] if workdir.is_dir() else []
    return since is not None and bool(times) and datetime.fromtimestamp(min(times), UTC) < since


def _slot_for(one: Planned, slot: Slot) -> Slot:
    """Only the engine of language models shares its work between processes."""
    return slot if one.spec.fit.llm is not None else slot.alone()


def _task(one: Planned, driver: Driver, slot: Slot, out: Path) -> Task:
    return Task(
        spec=one.spec,
        split=one.split.folder,
        cache=driver.root.cache,
        out=out,
        device=slot.device,
        threads=max(1, slot.threads // slot.processes),
        offline=driver.offline,
        processes=slot.world_size,
        stop=driver.workers.stop,
    )


def did_not_train(one: Planned, facts: Facts) -> bool:
    """Whether the policy stayed where its parent was, so that the run shows nothing of its method."""
    starts_from_parent = one.resolved.plugin.traits.starts_from == "parent"
    return starts_from_parent and facts.moved_nats is not None and facts.moved_nats < MOVED_NATS


def _manifest(one: Planned, driver: Driver, started: str, facts: Facts) -> Manifest:
    return Manifest(
        spec=one.spec,
        label=one.label,
        params=one.resolved.changed,
        digests={**one.split.digests, **engine_digests(one.spec, facts)},
        statistics=one.split.statistics.to_json(),
        versions=driver.versions,
        code=driver.code,
        hardware=driver.hardware,
        started=started,
        finished=now(),
        off_protocol=bool(one.off_protocol),
        reasons=one.off_protocol,
        facts=facts,
    )


def engine_digests(spec: RunSpec, facts: Facts) -> dict[str, str]:
    """The links that a language model adds to the chain of digests; those that are not known are left out."""
    llm = spec.fit.llm or {}
    links = {
        "identifiers": facts.identifiers,
        "prompt": llm.get("prompt"),
        "backbone": llm.get("backbone_digest"),
    }
    return {name: str(link) for name, link in links.items() if link}


def _copy_logs(workdir: Path, staging: Path) -> None:
    """What the fit has said so far, in all its attempts; the ranking adds to it."""
    for name in ("log.txt", "train.jsonl"):
        if (workdir / name).exists():
            shutil.copyfile(workdir / name, staging / name)


@contextmanager
def _alone(driver: Driver, lock: Path, one: Planned, what: str) -> Iterator[None]:
    """Only one process at a time; a second one waits, and then reuses."""

    def waiting(owner: locks.Owner | None) -> None:
        whose = "another process" if owner is None else f"process {owner.pid} on {owner.machine}"
        driver.listener.say(f"{one.spec.id}  {one.name}: waiting for {whose}, which runs it")

    with locks.hold(lock, what, waiting=waiting, give_up=driver.workers.ended.is_set):
        yield
