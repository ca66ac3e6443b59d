"""`recbench status | logs | cancel | retry`: what was asked for, from any later shell."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recbench.cli._execute import Scheduling
from recbench.cli._options import (
    DetachOption,
    GpusOption,
    JsonOption,
    NodesOption,
    ParallelOption,
    ProfileOption,
    RootOption,
    StudyOption,
    TimeOption,
    find_root,
)
from recbench.errors import MissingError, RecbenchError, UsageError, unknown_name

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.running.jobs import Job, Standing

FOLLOW_SECONDS = 0.5
LOOK_AGAIN_SECONDS = 3.0
RunsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN]...", help="Run ids, or how they begin (default: all).")
]


def status(
    runs: RunsArgument = None, study: StudyOption = None, root: RootOption = None, json: JsonOption = False
) -> None:
    """How far the runs are that were asked for; needs no living driver."""
    from collections import Counter

    from recbench.cli._output import print_json, print_table

    place = find_root(root)
    found = settled(_jobs(place, runs, study), place)
    if json:
        print_json([{**asdict(one), "job": asdict(one.job)} for one in found])
        return
    rows = [
        (one.job.run, one.job.name, one.state, one.failure or "-", one.where or "-", _first_line(one.message))
        for one in found
    ]
    print_table(("run", "name", "state", "class", "where", "why"), rows)
    counts = Counter(one.state for one in found)
    typer.echo(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    if any(one.state in ("failed", "lost") for one in found):
        typer.echo("next: recbench logs RUN, recbench retry --failed")
    elif any(one.state == "interrupted" for one in found):
        typer.echo("next: recbench retry, or the command that was interrupted")


def settled(found: Sequence[Job], root: Root) -> list[Standing]:
    """How far each is; a Slurm job that ended without a word is given its bundle first."""
    from recbench.base.progress import Quiet
    from recbench.planning import plan
    from recbench.running import slurm
    from recbench.running.one_run import Driver

    standings = slurm.standings(found, root)
    lost = [one for one in standings if one.state == "lost" and _is_old(one.job)]
    if not lost:
        return standings
    # what stays lost is: a file system may show a bundle from elsewhere later than the scheduler its end
    time.sleep(LOOK_AGAIN_SECONDS)
    still = {one.job.run for one in slurm.standings([one.job for one in lost], root) if one.state == "lost"}
    lost = [one for one in lost if one.job.run in still]
    after = {}
    for one in lost:
        with suppress(RecbenchError):  # its data or its method are not here any more; it stays lost
            *_, planned = plan.plan([one.job.selection], root, offline=True)
            if planned.spec.id == one.job.run:  # else data or code changed, and it is another run by now
                driver = Driver.of(root, Quiet(), distributions=[planned.resolved.plugin.distribution])
                after[one.job.run] = slurm.settle(one, planned, driver)
    return [after.get(one.job.run, one) for one in standings]


def _is_old(job: Job) -> bool:
    from datetime import UTC, datetime

    from recbench.running.slurm import SETTLE_SECONDS

    age = datetime.now(UTC) - datetime.fromisoformat(job.submitted)
    return age.total_seconds() > SETTLE_SECONDS


def logs(
    run: Annotated[str, typer.Argument(help="Run id, or how it begins.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    root: RootOption = None,
) -> None:
    """What a run's workers said, and its job's own log."""
    place = find_root(root)
    (job,) = _jobs(place, [run], None)
    for text in _lines(job, place, follow=follow):
        typer.echo(text, nl=False)


def _lines(job: Job, root: Root, *, follow: bool) -> Iterator[str]:
    """The logs one after another; then, to follow, what is added to any of them."""
    from recbench.base.layout import fit_folder
    from recbench.running import jobs

    shown: dict[Path, int] = {}
    while True:
        folder = Path(job.slurm["folder"]) if "folder" in job.slurm else None
        paths = [] if folder is None else [folder / f"{job.slurm['id']}_0_log.out"]
        bundled = root.runs / job.run / "log.txt"
        staged = root.runs / f".{job.run}.partial" / "log.txt"
        fitted = fit_folder(root.cache, job.fit) / "log.txt"
        paths.append(bundled if bundled.exists() else staged if staged.exists() else fitted)
        for path in paths:
            if path.exists():
                text = path.read_text(encoding="utf-8", errors="replace")
                if len(text) > shown.get(path, 0):
                    yield text[shown.get(path, 0) :]
                    shown[path] = len(text)
        if not follow or jobs.standing(job, root).state not in ("running", "queued"):
            break
        time.sleep(FOLLOW_SECONDS)
    if not shown:
        typer.echo(f"{job.run} has said nothing yet", err=True)


def cancel(runs: RunsArgument = None, study: StudyOption = None, root: RootOption = None) -> None:
    """Stop runs that are queued or running; what they have saved stays, and `retry` continues."""
    from recbench.running import jobs, slurm

    place = find_root(root)
    stopped = 0
    for one in slurm.standings(_jobs(place, runs, study), place):
        if one.state not in ("queued", "running"):
            continue
        jobs.cancel(one.job, place)  # first, so that its end is not taken for a failure
        if one.where.startswith("job ") or one.job.executor == "slurm":
            subprocess.run(["scancel", one.job.slurm.get("id", "")], check=False)
        elif not _end(one):
            one.job.write(place)
            typer.echo(f"{one.job.run}  {one.job.name}: works on {one.where}; cancel it there", err=True)
            continue
        stopped += 1
        typer.echo(f"{one.job.run}  {one.job.name}: cancelled")
    if not stopped:
        typer.echo("nothing is queued or running")


def _end(one: Standing) -> bool:
    """Ask the driver of a run to end, as Ctrl-C does, if it is on this machine; it ends all its runs."""
    from recbench.base import locks

    driver = locks.Owner(**one.job.driver) if one.job.driver else None
    if driver is None or not driver.is_alive():
        return False
    os.kill(driver.pid, signal.SIGTERM)
    return True


def retry(
    runs: RunsArgument = None,
    study: StudyOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed.")] = False,
    oom: Annotated[bool, typer.Option("--oom", help="Those that ran out of memory.")] = False,
    profile: ProfileOption = None,
    gpus: GpusOption = None,
    nodes: NodesOption = None,
    time: TimeOption = None,
    max_parallel: ParallelOption = None,
    detach: DetachOption = False,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Take up again what failed, was cancelled or was interrupted, where it was and with what it had; flags
    change that."""
    from recbench.cli._execute import execute, interruptible, print_and_exit
    from recbench.planning import plan as planning
    from recbench.planning.resources import Resources
    from recbench.running import jobs

    place = find_root(root)
    states = ("failed",) if failed or oom else ("failed", "lost", "cancelled", "interrupted")
    found = [
        one.job
        for one in settled(_jobs(place, runs, study), place)
        if one.state in states and (not oom or one.failure == "oom")
    ]
    if not found:
        typer.echo("there is nothing to take up again")
        return
    asked = {job.run: job.resources for job in jobs.find(place)}
    bundles = []
    with interruptible() as listener:
        for executor, since in sorted({(job.executor, job.newer_than or "") for job in found}):
            mine = [job for job in found if (job.executor, job.newer_than or "") == (executor, since)]
            scheduling = Scheduling(
                on=executor,
                profile=profile,
                gpus=gpus,
                nodes=nodes,
                time=time,
                max_parallel=max_parallel,
                detach=detach,
            )
            planned = planning.plan([job.selection for job in mine], place, listener=listener)
            bundles += execute(
                planned,
                place,
                scheduling,
                base=lambda run: asked.get(run.spec.id, Resources()),
                listener=listener,
            )
    print_and_exit(bundles, as_json=json)


def _jobs(root: Root, runs: Sequence[str] | None, study: str | None) -> list[Job]:
    """The records that are meant. MissingError where there are none, UsageError for an id that is not one."""
    from recbench.running import jobs

    known = jobs.find(root)
    if study is not None:
        from recbench.planning.study import find

        wanted = [asdict(selection) for selection in find(study, root).selections()]
        mine = [job for job in known if asdict(job.selection) in wanted]
        parents = {job.parent for job in mine}
        known = [job for job in known if job in mine or job.run in parents]
    if not known:
        raise MissingError(
            "nothing was asked for here yet",
            why=f"{jobs.folder(root)} has no record",
            fix="recbench run -m popularity -d ml-100k",
        )
    if not runs:
        return known
    chosen = []
    for text in runs:
        matches = [job for job in known if job.run.startswith(text) and len(text) >= 4]
        if not matches:
            raise unknown_name("run", text, [job.run for job in known], fix="recbench status")
        if len(matches) > 1:
            raise UsageError(f"'{text}' begins several run ids", why=", ".join(job.run for job in matches))
        chosen += matches
    return chosen


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else "-"
