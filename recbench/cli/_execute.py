"""From the options of a command to executed runs: `run`, `plan`, `retry` and `tune` share it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from recbench.cli._output import echo
from recbench.errors import UsageError

if TYPE_CHECKING:
    from recbench.base.progress import Listener
    from recbench.base.root import Root
    from recbench.planning.plan import Planned
    from recbench.planning.resolve import Selection
    from recbench.planning.resources import Resources
    from recbench.planning.study import Study
    from recbench.results.bundle import Bundle
    from recbench.running.execute import Executor


def study_or_selections(
    study: str | None, root: Root, **options: Any
) -> tuple[Study | None, list[Selection]]:
    """The study, where one is named, and the runs. `options` are those of `selections`.

    UsageError where options and a study are mixed, or where there is neither.
    """
    if study is not None:
        from recbench.planning.study import find

        given = [name for name, value in options.items() if value is not None]
        if given:
            flag = {"settings": "set", "limit_users": "limit-users"}.get(given[0], given[0])
            raise UsageError(
                f"--{flag} and --study cannot be given together",
                why="a study says all that selects runs",
                fix="change the study's file, or leave --study out",
            )
        found = find(study, root)
        return found, found.selections()
    for name in ("method", "dataset"):
        if not options[name]:
            raise UsageError(
                f"no {name} is named", fix="-m METHOD -d DATASET, or --study NAME; see recbench list"
            )
    return None, selections(root, **options)


def selections(
    root: Root,
    *,
    method: Sequence[str],
    dataset: Sequence[str],
    backbone: str | None = None,
    paradigm: str | None = None,
    protocol: str | None = None,
    ranker: str | None = None,
    seed: Sequence[int] | None = None,
    seeds: int | None = None,
    settings: Sequence[str] | None = None,
    regime: str | None = None,
    parent: str | None = None,
    limit_users: int | None = None,
    phase: str | None = None,
) -> list[Selection]:
    """Every method on every dataset with every seed; None leaves an option at its default."""
    from recbench.base.params import parse_assignments
    from recbench.planning.resolve import Selection

    common: dict[str, Any] = {
        "backbone": root.setting("backbone", backbone),
        "paradigm": root.setting("paradigm", paradigm),
        "protocol": root.setting("protocol", protocol),
        "ranker": root.setting("ranker", ranker),
        "settings": parse_assignments(list(settings or [])),
        "regime": regime or "recipe",
        "parent": parent,
        "limit_users": limit_users,
        "phase": _phase(phase or "test"),
    }
    return [
        Selection(method=name, dataset=data, seed=number, **common)
        for data, name, number in product(dataset, method, _seeds(seed, seeds))
    ]


def _seeds(named: Sequence[int] | None, count: int | None) -> list[int]:
    if named and count is not None:
        raise UsageError("--seed and --seeds cannot be given together", fix=f"--seeds {count}")
    if any(seed < 0 for seed in named or ()):
        raise UsageError("a seed is not negative")
    return list(named) if named else list(range(count or 1))


def _phase(text: str) -> str:
    if text not in ("test", "valid"):
        raise UsageError(f"--phase '{text}' is neither test nor valid")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """The options that say where and with what resources runs are done."""

    on: str = "local"
    profile: str | None = None
    gpus: int | None = None
    nodes: int | None = None
    time: str | None = None
    max_parallel: int | None = None
    detach: bool = False

    def resources(
        self, planned: Sequence[Planned], base: Callable[[Planned], Resources]
    ) -> dict[str, Resources]:
        """By run id: what the study says, or the defaults, with the flags on top."""
        from recbench.planning.resources import minutes_of

        minutes = None if self.time is None else minutes_of(self.time)
        return {
            run.spec.id: base(run).with_flags(gpus=self.gpus, nodes=self.nodes, minutes=minutes)
            for run in planned
        }

    def executor(self, planned: Sequence[Planned], root: Root) -> Executor:
        """UsageError for a flag that belongs to the other executor."""
        from recbench.planning.cost_estimate import estimate, measured
        from recbench.planning.resources import seconds_of
        from recbench.running.local import LocalPool
        from recbench.running.slurm.executor import Profile, Slurm

        if self.on == "local":
            given: Mapping[str, object] = {
                "--profile": self.profile,
                "--detach": self.detach or None,
            }
            for flag, value in given.items():
                if value is not None:
                    raise UsageError(f"{flag} belongs to --on slurm", fix=f"--on slurm {flag} ...")
        known = measured(root.runs)
        expected = {run.spec.id: estimate(run.spec, known) for run in planned}
        estimates = {run: known for run, known in expected.items() if known is not None}
        if self.on == "local":
            memory = {run: estimated.host_bytes for run, estimated in estimates.items()}
            seconds = None if self.time is None else seconds_of(self.time)
            return LocalPool(max_parallel=self.max_parallel, memory=memory, seconds=seconds)
        return Slurm(
            profile=Profile.named(self.profile, root.profiles),
            detach=self.detach,
            max_parallel=self.max_parallel,
            estimates={run: estimated.seconds for run, estimated in estimates.items()},
        )


@contextmanager
def interruptible() -> Iterator[Listener]:
    """A listener; Ctrl-C and SIGTERM end the command with exit code 130, and its workers with it."""
    from recbench.cli._output import listening

    with listening() as listener, _terminated_as_interrupt():
        try:
            yield listener
        except KeyboardInterrupt:
            listener.say("interrupted; the same command continues")
            raise typer.Exit(130) from None


def execute(
    planned: Sequence[Planned],
    root: Root,
    scheduling: Scheduling,
    *,
    base: Callable[[Planned], Resources] | None = None,
    force: bool = False,
    offline: bool = False,
    listener: Listener,
) -> list[Bundle]:
    """Take every run to its bundle; `base` gives the resources of a run before the flags."""
    from recbench.planning.resources import Resources
    from recbench.running.execute import run_all

    return run_all(
        planned,
        root,
        executor=scheduling.executor(planned, root),
        resources=scheduling.resources(planned, base or (lambda _run: Resources())),
        force=force,
        offline=offline,
        listener=listener,
    )


def print_and_exit(bundles: Sequence[Bundle], *, as_json: bool) -> None:
    """Print the results; exit code 1 where a run failed."""
    print_results(bundles, as_json=as_json)
    if any(bundle.status == "failed" for bundle in bundles):
        raise typer.Exit(1)


def print_results(bundles: Sequence[Bundle], *, as_json: bool) -> None:
    from recbench.cli._output import print_json, print_table
    from recbench.cli._runs import headline, identifier_lines, next_command, run_record

    if as_json:
        print_json([run_record(run) for run in bundles])
        return
    finished = [run for run in bundles if run.status == "complete"]
    for run in finished:
        if run.manifest.did_not_train:
            echo(f"warning: {run.label} did not train: its policy is where its parent was", err=True)
        for warning in run.warnings():
            echo(f"warning: {run.label}: {warning}", err=True)
    for line in identifier_lines(finished):
        echo(line, err=True)
    if finished:
        columns, rows = headline(finished)
        print_table(columns, rows, title="metrics with 95 % intervals over users")
    for run in bundles:
        if run.status == "failed":
            reason = run.reason or {}
            echo(f"failed: {run.label} on {run.spec.fit.dataset} ({reason.get('class')}), {run.path}")
            what = reason.get("what", reason.get("message"))
            for name, text in (("what", what), ("why", reason.get("why")), ("try", reason.get("fix"))):
                if text:
                    echo(f"  {name}: {text}")
    if finished:
        echo(f"folder: {finished[0].path.parent}")
        echo(f"next: {next_command(finished)}")


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM stops a run as Ctrl-C does, so that its worker ends with it."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
