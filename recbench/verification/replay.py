"""A finished run, fitted and ranked again in a new folder: nothing of the cache but its data is used."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from recbench.base.layout import REPLAYS, fit_folder, records_folder
from recbench.base.nested import differing_keys, flat
from recbench.base.progress import Listener
from recbench.base.root import Root
from recbench.errors import CheckError, DigestError, UsageError
from recbench.planning.plan import Planned, plan
from recbench.results.bundle import Bundle
from recbench.results.fit_record import FitRecord
from recbench.running import jobs, local
from recbench.running.guard.closed import closed_for
from recbench.running.one_run import Driver, run_one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replay:
    """A run and its repetition."""

    run: Bundle
    again: Bundle

    @property
    def num_other_ranks(self) -> int:
        """Users whose target has another rank."""
        return int((self.run.ranks != self.again.ranks).sum())

    @property
    def differs(self) -> list[str]:
        """The versions, the code and the hardware that are not those of the run."""
        parts = ("versions", "code", "hardware")
        records = [
            flat({part: getattr(one.manifest, part) for part in parts}) for one in (self.run, self.again)
        ]
        return [
            f"{key} {records[0].get(key, 'none')} then, {records[1].get(key, 'none')} now"
            for key in differing_keys(records)
        ]


def replay(run: Bundle, root: Root, *, offline: bool, listener: Listener) -> Replay:
    """Fit the run, and its parent, again below `replays/` of the root, by the selection in its record.

    UsageError where no record says how it was asked for, DigestError where that gives another run today,
    CheckError where it fails.
    """
    planned = _planned(run, root, offline=offline, listener=listener)
    (root.path / REPLAYS).mkdir(exist_ok=True)
    place = replace(root, path=Path(mkdtemp(prefix=f"{run.id}-", dir=root.path / REPLAYS)))
    named = planned.spec.fit.parent
    if named is not None and planned.parent is None:  # the user named a fit, which no selection gives
        for fit in (named, *FitRecord.read(fit_folder(root.cache, named)).parents):
            shutil.copytree(fit_folder(root.cache, fit), fit_folder(place.cache, fit), symlinks=True)
            if records_folder(root.cache, fit).is_dir():  # fits of earlier versions have none
                shutil.copytree(records_folder(root.cache, fit), records_folder(place.cache, fit))
    owner = [planned.resolved.plugin.distribution]
    driver = Driver.of(place, listener, distributions=owner, offline=offline)
    driver = replace(driver, closed=closed_to(place, planned.spec.fit.dataset, root))
    again = run_one(planned, driver, local.one_slot(root))
    if again.status == "failed":
        reason = again.reason or {}
        raise CheckError(
            f"the replay of {run.id} ({run.label}) failed",
            why=str(reason.get("reason")),
            fix=f"see {again.path}",
        )
    return Replay(run=run, again=again)


def closed_to(place: Root, dataset: str, root: Root) -> list[Path]:
    """What workers of the replay in `place` do not read: as for a run under `root`, the splits of `root` but
    their own, and all other replays."""
    replays = root.path / REPLAYS
    others = [folder for folder in replays.iterdir() if folder != place.path]
    usual = [path for path in closed_for(dataset, root) if path != replays]
    return [*usual, *others, root.cache / "split", root.cache / "raw", place.runs]


def check(found: Replay) -> None:
    """CheckError where a rank came out otherwise, with what is not the same as then."""
    if not found.num_other_ranks:
        return
    metric = f"ndcg@{min(10, found.run.spec.protocol['depth'])}"
    then, now = (float(np.mean(one.per_request(metric))) for one in (found.run, found.again))
    others = "; ".join(found.differs) or "code, versions and hardware are the same"
    raise CheckError(
        f"{found.num_other_ranks:,} of {len(found.run.ranks):,} ranks of {found.run.id} came out otherwise",
        why=f"{metric} {then:.4f} then, {now:.4f} now; {others}",
        fix=f"recbench verify {found.run.id}; the replay is in {found.again.path}",
    )


def _planned(run: Bundle, root: Root, *, offline: bool, listener: Listener) -> Planned:
    job = jobs.read_if_there(root, run.id)
    if job is None:
        raise UsageError(
            f"nothing records how run {run.id} ({run.label}) was asked for",
            why=f"{jobs.path_of(root, run.id)} is not there",
            fix=f"recbench verify {run.id}, or repeat it with --force",
        )
    *_, planned = plan([job.selection], root, offline=offline, listener=listener)
    if planned.spec.id != run.id:
        raise DigestError(
            f"the selection of run {run.id} ({run.label}) gives run {planned.spec.id} today",
            why="the data, the code or an installed method has changed since",
            fix=f"recbench verify {run.id}, or install what it was made with",
        )
    return planned
