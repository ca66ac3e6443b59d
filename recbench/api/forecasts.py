"""`recbench.plan`: what is done and what is to come, without preparing or training anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recbench.api.execution import assignments
from recbench.api.scheduling import Scheduling
from recbench.api.surroundings import Tabular

if TYPE_CHECKING:
    import pandas as pd

    from recbench.base.root import Root
    from recbench.planning.forecast import Prospect, Totals
    from recbench.planning.resolve import Selection
    from recbench.planning.study import Study


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
    root: str | Path | None = None,
    offline: bool = False,
) -> Plan:
    """What is done, cached, to run or blocked, as `recbench plan` says it; nothing is prepared or fetched."""
    from recbench.api.matrix import study_or_selections
    from recbench.api.surroundings import root_of, texts

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
    return foreseen(matrix, selections, place, Scheduling(), offline=offline)


def foreseen(
    matrix: Study | None, selections: Sequence[Selection], root: Root, flags: Scheduling, *, offline: bool
) -> Plan:
    """The plan of these runs, with the flags on top of what the study says of GPUs and nodes."""
    from recbench.planning.forecast import forecast, totals
    from recbench.planning.resources import Resources

    runs = forecast(selections, root, offline=offline)
    gpus = {}
    for run in runs:
        base = Resources() if matrix is None or run.resolved is None else matrix.resources_of(run.resolved)
        amounts = base.with_flags(gpus=flags.gpus, nodes=flags.nodes, minutes=None)
        gpus[run.name] = amounts.gpus * amounts.nodes
    return Plan(runs, gpus, totals(runs, gpus, root))
