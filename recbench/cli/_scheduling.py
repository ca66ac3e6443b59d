"""Where and with what runs are done: the options of `run`, `retry` and `tune`, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recbench.errors import UsageError

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.planning.plan import Planned
    from recbench.planning.resources import Resources
    from recbench.running.execute import Executor

OnOption = Annotated[
    Literal["local", "slurm"], typer.Option("--on", help="This machine, or a Slurm cluster.")
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Table [profiles.NAME] of recbench.toml, for Slurm.")
]
GpusOption = Annotated[
    int | None, typer.Option("--gpus", min=1, help="GPUs of one run, on each of its nodes. [1]")
]
NodesOption = Annotated[int | None, typer.Option("--nodes", min=1, help="Nodes of one run. [1]")]
TimeOption = Annotated[str | None, typer.Option("--time", help="Limit of one run, e.g. 8h.")]
ParallelOption = Annotated[
    int | None,
    typer.Option("--max-parallel", min=1, help="Runs at once. [one per GPU; on a CPU one]"),
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Return when all is submitted; recbench status says the rest.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """What was said on the command line."""

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
            one.spec.id: base(one).with_flags(gpus=self.gpus, nodes=self.nodes, minutes=minutes)
            for one in planned
        }

    def executor(self, planned: Sequence[Planned], root: Root) -> Executor:
        """UsageError for a flag that belongs to the other executor."""
        from recbench.planning.cost_estimate import estimate, measured
        from recbench.running.local import LocalPool
        from recbench.running.slurm import Profile, Slurm

        if self.on == "local":
            given: Mapping[str, object] = {
                "--profile": self.profile,
                "--time": self.time,
                "--detach": self.detach or None,
            }
            for flag, value in given.items():
                if value is not None:
                    raise UsageError(f"{flag} belongs to --on slurm", fix=f"--on slurm {flag} ...")
        known = measured(root.runs)
        expected = {one.spec.id: estimate(one.spec, known) for one in planned}
        found = {run: one for run, one in expected.items() if one is not None}
        if self.on == "local":
            memory = {run: one.host_bytes for run, one in found.items()}
            return LocalPool(max_parallel=self.max_parallel, memory=memory)
        return Slurm(
            profile=Profile.named(self.profile, root.profiles),
            detach=self.detach,
            max_parallel=self.max_parallel,
            estimates={run: one.seconds for run, one in found.items()},
        )
