"""`recbench.run`: the command `recbench run` from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from recbench.api.results import Run, Runs
from recbench.api.scheduling import Scheduling, execute


def run(
    methods: str | Sequence[str] | None = None,
    datasets: str | Sequence[str] | None = None,
    *,
    study: str | None = None,
    backbone: str | None = None,
    paradigm: str | None = None,
    protocol: str | None = None,
    ranker: str | None = None,
    seed: int | Sequence[int] | None = None,
    seeds: int | None = None,
    settings: Mapping[str, object] | None = None,
    regime: str | None = None,
    parent: str | None = None,
    limit_users: int | None = None,
    phase: Literal["test", "valid"] | None = None,
    on: Literal["local", "slurm"] = "local",
    profile: str | None = None,
    gpus: int | None = None,
    nodes: int | None = None,
    time: str | None = None,
    max_parallel: int | None = None,
    detach: bool = False,
    force: bool = False,
    root: str | Path | None = None,
    offline: bool = False,
    progress: bool = True,
) -> Runs:
    """Fit and rank methods on datasets, as `recbench run` does with the options of the same names.

    `methods` are written as on the command line, `"sdpo:beta=0.5"`; `settings` is what `--set` takes,
    `{"train.epochs": 3}`. Finished runs are reused, failed ones are tried again, and a parent's run is added
    where a method needs one. A failed run is among the results with its `reason`; RecbenchError where
    nothing could start. Ctrl-C ends the workers; the same call continues.
    """
    from recbench.api.matrix import control_notes, refuse_idle_settings, study_or_selections
    from recbench.api.surroundings import listening, root_of, texts
    from recbench.planning.plan import plan

    place, listener = root_of(root), listening(progress)
    matrix, selections = study_or_selections(
        study,
        place,
        method=texts(methods),
        dataset=texts(datasets),
        backbone=backbone,
        paradigm=paradigm,
        protocol=protocol,
        ranker=ranker,
        seed=[seed] if isinstance(seed, int) else seed,
        seeds=seeds,
        settings=assignments(settings),
        regime=regime,
        parent=parent,
        limit_users=limit_users,
        phase=phase,
    )
    scheduling = Scheduling(
        on=on,
        profile=profile,
        gpus=gpus,
        nodes=nodes,
        time=time,
        max_parallel=max_parallel,
        detach=detach,
    )
    planned = plan(selections, place, offline=offline, listener=listener)
    refuse_idle_settings([run.resolved for run in planned])
    for note in control_notes([run.resolved for run in planned]):
        listener.say(f"note: {note}")
    base = None if matrix is None else lambda one: matrix.resources_of(one.resolved)
    bundles = execute(planned, place, scheduling, base=base, force=force, offline=offline, listener=listener)
    return Runs(Run(bundle, place) for bundle in bundles)


def assignments(settings: Mapping[str, object] | None) -> list[str] | None:
    """Settings as the command line writes them."""
    from recbench.base.params import as_text

    return None if settings is None else [f"{key}={as_text(value)}" for key, value in settings.items()]
