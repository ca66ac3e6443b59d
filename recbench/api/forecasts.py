"""`recbench.plan`: what is done and what is to come, without preparing or training anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recbench.api.execution import assignments
from recbench.api.scheduling import Scheduling
from recbench.api.surroundings import Tabular
from recbench.base.progress import Listener, Silent

if TYPE_CHECKING:
    import pandas as pd

    from recbench.base.root import Root
    from recbench.planning.forecast import Prospect, Totals
    from recbench.planning.resolve import Selection
    from recbench.planning.study import Study


MEASURE_SECONDS = 60.0
"""The longest that a kind of run is timed."""


@dataclass(frozen=True, repr=False)
class Plan(Tabular):
    """The runs of a selection, those that others start from first, and what they will take."""

    runs: Sequence[Prospect]
    gpus: Mapping[str, int]
    """Of each run on all its nodes, by its name."""
    totals: Totals

    def __repr__(self) -> str:
        counts = Counter(run.state for run in self.runs)
        return f"<Plan: {', '.join(f'{count} {state}' for state, count in sorted(counts.items()))}>"

    def __len__(self) -> int:
        return len(self.runs)

    def to_frame(self) -> pd.DataFrame:
        """A row for each run; `seconds` is missing where no run of its kind was measured."""
        from recbench.api.surroundings import frame

        return frame(
            [
                {
                    "run": None if run.spec is None else run.spec.id,
                    "name": run.name,
                    "state": run.state,
                    "seconds": None if run.expected is None else run.expected.seconds,
                    "host_bytes": None if run.expected is None else run.expected.host_bytes or None,
                    "gpu_bytes": None if run.expected is None else run.expected.gpu_bytes,
                    "measured_on": None if run.expected is None else run.expected.like,
                    "parent": run.parent,
                    "why": run.why,
                    "fix": run.fix,
                }
                for run in self.runs
            ]
        )


def plan(
    methods: str | Sequence[str] | None = None,
    datasets: str | Sequence[str] | None = None,
    *,
    study: str | None = None,
    backbone: str | None = None,
    paradigm: str | None = None,
    protocol: str | None = None,
    seed: int | Sequence[int] | None = None,
    seeds: int | None = None,
    settings: Mapping[str, object] | None = None,
    regime: str | None = None,
    limit_users: int | None = None,
    measure: bool = False,
    measure_seconds: float = MEASURE_SECONDS,
    root: str | Path | None = None,
    offline: bool = False,
) -> Plan:
    """What is done, cached, to run or blocked, as `recbench plan` says it; nothing is prepared or fetched.

    With `measure` data are prepared and backbones fetched, and each kind of run that was never measured is
    timed here, for at most `measure_seconds`.
    """
    from recbench.api.matrix import study_or_selections
    from recbench.api.surroundings import listening, root_of, texts

    place = root_of(root)
    matrix, selections = study_or_selections(
        study,
        place,
        method=texts(methods),
        dataset=texts(datasets),
        backbone=backbone,
        paradigm=paradigm,
        protocol=protocol,
        seed=[seed] if isinstance(seed, int) else seed,
        seeds=seeds,
        settings=assignments(settings),
        regime=regime,
        limit_users=limit_users,
    )
    return foreseen(
        matrix,
        selections,
        place,
        Scheduling(),
        offline=offline,
        measure_seconds=measure_seconds if measure else None,
        listener=listening(measure),
    )


def foreseen(
    matrix: Study | None,
    selections: Sequence[Selection],
    root: Root,
    flags: Scheduling,
    *,
    offline: bool,
    measure_seconds: float | None = None,
    listener: Listener = Silent(),
) -> Plan:
    """The plan of these runs, with the flags on top of what the study says of GPUs and nodes.

    With `measure_seconds`, kinds of runs that were never measured are timed, each for so long at most."""
    from recbench.planning.forecast import forecast, totals

    runs = forecast(selections, root, offline=offline)
    gpus = _gpus(runs, matrix, flags)
    if measure_seconds is not None:
        runs = _timed(runs, selections, root, gpus, seconds=measure_seconds, offline=offline, report=listener)
    return Plan(runs, gpus, totals(runs, gpus, root))


def _timed(
    runs: Sequence[Prospect],
    selections: Sequence[Selection],
    root: Root,
    gpus: Mapping[str, int],
    *,
    seconds: float,
    offline: bool,
    report: Listener,
) -> list[Prospect]:
    """The runs with what was timed of those of which nothing was known."""
    from recbench.planning.cost_estimate import kind_of
    from recbench.planning.forecast import forecast
    from recbench.planning.plan import plan
    from recbench.running.costs.trial import Limits, time_kinds

    unknown = [run.resolved.selection for run in runs if _is_unknown(run) and run.resolved is not None]
    planned = plan(unknown, root, offline=offline, listener=report)
    runs = forecast(selections, root, offline=offline)  # the data are here now, so that identities are known
    wanted = {run.spec.id for run in runs if _is_unknown(run) and run.spec is not None}
    found = time_kinds(
        [run for run in planned if run.spec.id in wanted],
        root,
        limits=Limits(seconds=seconds),
        gpus=gpus,
        offline=offline,
        listener=report,
    )
    timed = []
    for run in runs:
        known = found.get(kind_of(run.spec)) if _is_unknown(run) and run.spec is not None else None
        if isinstance(known, str):
            run = replace(run, why=known)
        timed.append(run if known is None or isinstance(known, str) else replace(run, expected=known))
    return timed


def _is_unknown(run: Prospect) -> bool:
    return run.is_open and run.expected is None


def _gpus(runs: Sequence[Prospect], matrix: Study | None, flags: Scheduling) -> dict[str, int]:
    """Of each run on all its nodes, by its name."""
    from recbench.planning.resources import Resources

    gpus = {}
    for run in runs:
        base = Resources() if matrix is None or run.resolved is None else matrix.resources_of(run.resolved)
        amounts = base.with_flags(gpus=flags.gpus, nodes=flags.nodes, minutes=None)
        gpus[run.name] = amounts.gpus * amounts.nodes
    return gpus
