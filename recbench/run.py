"""The driver: takes planned runs to bundles, each fit and each ranking in a worker process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from recbench import bundle, context, environment, evaluate, split
from recbench.bundle import Bundle
from recbench.efficiency import efficiency
from recbench.errors import DigestError
from recbench.plan import Listener, Planned, Quiet
from recbench.root import Root
from recbench.spec import RunSpec
from recbench.sync import sync_pending
from recbench.task import COMPLETE, Task, fit_folder
from recbench.worker import failure_of

STOP_SECONDS = 30.0
MOVED_NATS = 1e-3
"""A policy that moved less from its parent did not train."""


class WorkerFailedError(Exception):
    """A worker ended without its result; `record` says why."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        super().__init__(record["message"])
        self.record = record


@dataclass(frozen=True, slots=True, kw_only=True)
class _Driver:
    """What all runs of one command share."""

    root: Root
    device: str
    variables: Mapping[str, str]
    """What a worker's environment needs for its device."""
    offline: bool
    listener: Listener
    force: bool
    stale_fits: set[str]
    """Fits that their next run still has to discard."""
    versions: Mapping[str, str]
    code: Mapping[str, Any]
    hardware: Mapping[str, Any]


def run_all(
    planned: Sequence[Planned],
    root: Root,
    *,
    force: bool = False,
    offline: bool = False,
    listener: Listener | None = None,
) -> list[Bundle]:
    """One bundle for each planned run, in their order; a failed run is a bundle too.

    Finished runs are reused; with `force` every run and its fit are made again, and an old bundle stands
    until the new one replaces it. Raises KeyboardInterrupt after stopping the worker; the same call
    continues. However this ends, what is finished and not in the store yet goes there.
    """
    root.check_writable()
    listener = Quiet() if listener is None else listener
    device = root.setting("device") or environment.default_device()
    device, variables = environment.only_device(device, os.environ)
    driver = _Driver(
        root=root,
        device=device,
        variables=variables,
        offline=offline or root.offline,
        listener=listener,
        force=force,
        stale_fits={one.spec.fit.id for one in planned} if force else set(),
        versions=environment.versions(*sorted({p.resolved.plugin.distribution for p in planned})),
        code=environment.code(),
        hardware=environment.hardware(),
    )
    bundles: list[Bundle] = []
    try:
        for one in planned:
            bundles.append(_run_one(one, driver))
    finally:
        sync_pending(bundles, root, listener.say)
    return bundles


def _run_one(one: Planned, driver: _Driver) -> Bundle:
    """This run's bundle, made now unless it is there, complete and undamaged."""
    with _exclusive(driver, one):
        there = None if driver.force else _finished(one, driver)
        if there is not None:
            driver.listener.say(f"{one.spec.id}  {one.name}: reused")
            return there
        if one.spec.fit.id in driver.stale_fits:
            driver.stale_fits.remove(one.spec.fit.id)
            shutil.rmtree(fit_folder(driver.root.cache, one.spec.fit.id), ignore_errors=True)
        driver.listener.say(f"{one.spec.id}  {one.name}: running")
        staging = bundle.create(driver.root.runs, one.spec.id)
        started = _now()
        try:
            folder = _finish(one, driver, staging, started)
        except KeyboardInterrupt:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        except Exception as error:
            record = dict(error.record) if isinstance(error, WorkerFailedError) else failure_of(error)
            manifest = _manifest(one, driver, started, {})
            reason = {**record, "reason": record["message"]}
            folder = bundle.finish(staging, manifest, status="failed", reason=reason)
            what = record.get("what", record["message"])
            driver.listener.say(f"{one.spec.id}  {one.name}: failed ({record['class']}): {what}")
        return bundle.load(folder)


def _finished(one: Planned, driver: _Driver) -> Bundle | None:
    """The complete bundle of an earlier command; None where there is none or it has changed since."""
    folder = driver.root.runs / one.spec.id
    if bundle.status(folder) != "complete":
        return None
    try:
        return bundle.load(folder)
    except DigestError as error:
        driver.listener.say(f"warning: {error.what} ({error.why}); it is made again")
        return None


def _finish(one: Planned, driver: _Driver, staging: Path, started: str) -> Path:
    task = _task(one, driver, staging)
    try:
        _fit(one, driver)
    finally:
        _copy_logs(task.workdir, staging)
    _work("rank", task, staging / "log.txt", driver)
    fitted = _fit_record(driver.root.cache, one.spec.fit.id)
    ranked = json.loads((staging / "rank.json").read_text())
    (staging / "rank.json").unlink()
    facts = {"facts": fitted["facts"], **_score(one, staging, ranked["stats"])}
    facts["did_not_train"] = did_not_train(one, fitted["facts"])
    parents = [_fit_record(driver.root.cache, parent) for parent in fitted["parents"]]
    bundle.write_json(staging / "efficiency.json", efficiency(fitted, ranked, parents))
    return bundle.finish(staging, _manifest(one, driver, started, facts), status="complete")


def _fit(one: Planned, driver: _Driver) -> None:
    """Train what this run ranks, unless that is done; and first its parent, whose weights may be gone
    although its bundle is there."""
    task = _task(one, driver, out=driver.root.cache)
    if (task.workdir / COMPLETE).exists():
        return
    if (
        one.parent is not None
        and not (fit_folder(driver.root.cache, one.parent.spec.fit.id) / COMPLETE).exists()
    ):
        with _exclusive(driver, one.parent):
            _fit(one.parent, driver)
    task.workdir.mkdir(parents=True, exist_ok=True)
    _work("fit", task, task.workdir / "log.txt", driver)


def _task(one: Planned, driver: _Driver, out: Path) -> Task:
    return Task(
        spec=one.spec,
        split=one.split.folder,
        cache=driver.root.cache,
        out=out,
        device=driver.device,
        threads=driver.root.threads,
        offline=driver.offline,
    )


def _fit_record(cache: Path, fit: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((fit_folder(cache, fit) / "fit.json").read_text())
    return record


def did_not_train(one: Planned, facts: Mapping[str, Any]) -> bool:
    """Whether the policy stayed where its parent was, so that the run shows nothing of its method."""
    starts_from_parent = one.resolved.plugin.traits.starts_from == "parent"
    return starts_from_parent and facts.get("moved_nats", np.inf) < MOVED_NATS


def _score(one: Planned, staging: Path, stats: Mapping[str, float]) -> dict[str, Any]:
    """Open the targets, now that the ranking is on disk, and write ranks and metrics beside it."""
    topk = bundle.read_arrays(staging / "topk.npz")
    certified = topk.get("certified")
    folder, phase, protocol = one.split.folder, one.spec.phase, one.spec.protocol
    targets = split.load_targets(folder, phase)
    names = split.load_users(folder)
    requests = split.load_requests(folder, phase, exclude_seen=protocol["exclude_seen"])
    users = np.array([names[int(user)] for user in requests.user])
    surroundings = context.of_split(folder, phase, targets)
    ranks, values = evaluate.score(topk["items"], targets, context=surroundings, cutoffs=protocol["cutoffs"])
    context.write(staging, surroundings)
    bundle.write_arrays(staging / "ranks.npz", ranks=ranks, users=users)
    bundle.write_json(staging / "metrics.json", values)
    return {
        "num_requests": len(ranks),
        "certified_share": None if certified is None else float(certified.mean()),
        "nodes_per_user": stats.get("nodes_per_user"),
    }


def _manifest(one: Planned, driver: _Driver, started: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "spec": one.spec.to_json(),
        "label": one.label,
        "params": dict(one.resolved.changed),
        "digests": {**one.split.digests, **engine_digests(one.spec, facts.get("facts", {}))},
        "statistics": dict(one.split.statistics),
        "versions": dict(driver.versions),
        "code": dict(driver.code),
        "hardware": dict(driver.hardware),
        "timings": {"started": started, "finished": _now()},
        "off_protocol": bool(one.off_protocol),
        "reasons": one.off_protocol,
        **facts,
    }


def engine_digests(spec: RunSpec, facts: Mapping[str, Any]) -> dict[str, str]:
    """The links that a language model adds to the chain of digests; those that are not known are left out."""
    llm = spec.fit.llm or {}
    links = {
        "identifiers": facts.get("identifiers"),
        "prompt": llm.get("prompt"),
        "backbone": llm.get("backbone_digest"),
    }
    return {name: str(link) for name, link in links.items() if link}


def _work(verb: str, task: Task, log: Path, driver: _Driver) -> None:
    """Run one worker to its end, or stop it when this process is interrupted.

    Raises WorkerFailedError where it fails, KeyboardInterrupt where it was itself interrupted.
    """
    failure: dict[str, Any] | None = None
    with tempfile.TemporaryDirectory() as folder, log.open("ab") as errors:
        path = Path(folder) / "task.json"
        task.write(path)
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "recbench.worker", verb, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=_environment(driver),
        )
        try:
            for line in child.stdout or ():
                event = json.loads(line)
                if event["event"] == "failed":
                    failure = event
                else:
                    driver.listener.progress(event["stage"], event["done"], event["total"])
            code = child.wait()
        finally:
            _stop(child)
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise WorkerFailedError(failure or _silent_death(verb, code))


def _stop(child: subprocess.Popen[str]) -> None:
    """Ask a worker that still runs to end, and end it if it does not."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _silent_death(verb: str, code: int) -> dict[str, Any]:
    if code == -9:  # the kernel kills so when memory runs out; nothing else here sends this signal
        return {"class": "oom", "message": f"the {verb} process was killed: the machine ran out of memory"}
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return {"class": "method", "message": f"the {verb} process died with {how}; see log.txt"}


def _environment(driver: _Driver) -> dict[str, str]:
    environ = {**os.environ, **driver.variables}
    environ.setdefault("OMP_NUM_THREADS", str(driver.root.threads))
    environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if "OMP_WAIT_POLICY" not in environ:
        # an idle thread that spins takes the core from which it waits for work: beside another busy
        # process that makes training many times slower, and a short spin costs little when alone
        environ.setdefault("GOMP_SPINCOUNT", "1000")
    if driver.offline:
        environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return environ


def _copy_logs(workdir: Path, staging: Path) -> None:
    """What the fit has said so far, in all its attempts; the ranking adds to it."""
    for name in ("log.txt", "train.jsonl"):
        if (workdir / name).exists():
            shutil.copyfile(workdir / name, staging / name)


@contextmanager
def _exclusive(driver: _Driver, one: Planned) -> Iterator[None]:
    """Only one process at a time works on a fit and its runs; a second one waits, and then reuses."""
    path = driver.root.cache / "locks" / one.spec.fit.id
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            driver.listener.say(f"{one.spec.id}  {one.name}: waiting for another process that runs it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
