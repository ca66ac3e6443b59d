"""`recbench status | logs | cancel | retry`: what was asked for, from any later shell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from recbench.api.scheduling import Scheduling
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
from recbench.cli._output import echo, warn
from recbench.cli.reference import completion
from recbench.errors import MissingError, UsageError, unknown_name

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.running.jobs import Job

RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN", help="Run ids, or how they begin (default: all).", autocompletion=completion.jobs
    ),
]


def status(
    runs: RunsArgument = None, study: StudyOption = None, root: RootOption = None, json: JsonOption = False
) -> None:
    """How far the runs are that were asked for; needs no living driver."""
    from collections import Counter

    from recbench.cli._output import print_json, print_table
    from recbench.running.slurm.settle import settled

    place = find_root(root)
    statuses = settled(_jobs(place, runs, study), place)
    if json:
        print_json([{**asdict(run), "job": asdict(run.job)} for run in statuses])
        return
    rows = [
        (run.job.run, run.job.name, run.state, run.failure or "-", run.where or "-", _first_line(run.message))
        for run in statuses
    ]
    print_table(("run", "name", "state", "class", "where", "why"), rows)
    counts = Counter(run.state for run in statuses)
    echo(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    if any(run.state in ("failed", "lost") for run in statuses):
        echo("next: recbench logs RUN, recbench retry --failed")
    elif any(run.state == "interrupted" for run in statuses):
        echo("next: recbench retry, or the command that was interrupted")


def logs(
    run: Annotated[
        str,
        typer.Argument(
            help="Run id, or how it begins.",
            autocompletion=completion.jobs,
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    root: RootOption = None,
) -> None:
    """What a run's workers said, and its job's own log."""
    from recbench.running import logs

    place = find_root(root)
    (job,) = _jobs(place, [run], None)
    shown = False
    for text in logs.read(job, place, follow=follow):
        echo(text, nl=False)
        shown = True
    if not shown:
        echo(f"{job.run} has said nothing yet", err=True)


def cancel(runs: RunsArgument = None, study: StudyOption = None, root: RootOption = None) -> None:
    """Stop runs that are queued or running; what they have saved stays, and `retry` continues."""
    from recbench.running import cancel
    from recbench.running.slurm.queue import statuses

    place = find_root(root)
    stopped = 0
    for run in statuses(_jobs(place, runs, study), place):
        if run.state not in ("queued", "running"):
            continue
        if not cancel.cancel(run, place):
            echo(f"{run.job.run}  {run.job.name}: works on {run.where}; cancel it there", err=True)
            continue
        stopped += 1
        echo(f"{run.job.run}  {run.job.name}: cancelled")
    if not stopped:
        echo("nothing is queued or running")


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
    from recbench.api.scheduling import execute
    from recbench.cli._execute import interruptible, print_and_exit
    from recbench.planning import plan as planning
    from recbench.planning.resources import Resources
    from recbench.running import jobs
    from recbench.running.slurm.settle import settled

    place = find_root(root)
    states = ("failed",) if failed or oom else ("failed", "lost", "cancelled", "interrupted")
    found = [
        run.job
        for run in settled(_jobs(place, runs, study), place)
        if run.state in states and (not oom or run.failure == "oom")
    ]
    if not found:
        echo("there is nothing to take up again")
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

    known = jobs.find(root, warn)
    if study is not None:
        from recbench.planning.study import find

        wanted = set(find(study, root).selections())
        mine = [job for job in known if job.selection in wanted]
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
