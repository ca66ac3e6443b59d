"""Where and with what resources runs are done, and their way to bundles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recbench.errors import UsageError

if TYPE_CHECKING:
    from recbench.base.progress import Listener
    from recbench.base.root import Root
    from recbench.planning.plan import Planned
    from recbench.planning.resources import Resources
    from recbench.results.bundle import Bundle
    from recbench.running.execute import Executor


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
