"""`recbench tune`: hyperparameters chosen on validation, by the same number of trials for every method."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.api.scheduling import Scheduling
from recbench.cli._options import (
    BackboneOption,
    ForceOption,
    GpusOption,
    JsonOption,
    LimitUsersOption,
    NodesOption,
    OfflineOption,
    OnOption,
    ParadigmOption,
    ParallelOption,
    ProfileOption,
    ProtocolOption,
    RankerOption,
    RootOption,
    SettingsOption,
    TimeOption,
    find_root,
)
from recbench.cli._output import echo
from recbench.cli.reference import completion

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.planning.plan import Planned
    from recbench.planning.tuning import Trial


def tune(
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            "-m",
            help="NAME or NAME:key=value,...; what is set is not varied.",
            autocompletion=completion.methods,
        ),
    ],
    dataset: Annotated[
        list[str],
        typer.Option(
            "--dataset",
            "-d",
            help="Name of a dataset (repeat for several).",
            autocompletion=completion.datasets,
        ),
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="Trials of every method on every dataset; the first is its defaults.")
    ],
    backbone: BackboneOption = None,
    paradigm: ParadigmOption = None,
    protocol: ProtocolOption = None,
    ranker: RankerOption = None,
    settings: SettingsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the trials; it does not choose the points.")] = 0,
    limit_users: LimitUsersOption = None,
    on: OnOption = "local",
    profile: ProfileOption = None,
    gpus: GpusOption = None,
    nodes: NodesOption = None,
    time: TimeOption = None,
    max_parallel: ParallelOption = None,
    force: ForceOption = False,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Try points of each method's space on validation items, and keep them in tuning/; test items are never
    ranked. Finished trials are reused, and more trials continue the same draw."""
    from recbench.api.matrix import refuse_idle_settings, selections
    from recbench.api.scheduling import execute
    from recbench.cli._execute import interruptible
    from recbench.planning.plan import plan
    from recbench.planning.tuning import draw, planned_of

    place = find_root(root)
    asked = selections(
        place,
        method=method,
        dataset=dataset,
        backbone=backbone,
        paradigm=paradigm,
        protocol=protocol,
        ranker=ranker,
        seed=[seed],
        settings=settings,
        limit_users=limit_users,
        phase="valid",
    )
    scheduling = Scheduling(
        on=on, profile=profile, gpus=gpus, nodes=nodes, time=time, max_parallel=max_parallel
    )
    drawn = draw(asked, trials, place.path)
    refuse_idle_settings([group[0].resolved for group in drawn])
    wanted = [trial.resolved.selection for group in drawn for trial in group]
    with interruptible() as listener:
        planned = plan(wanted, place, offline=offline, listener=listener)
        groups = [[(trial, planned_of(trial, planned)) for trial in group] for group in drawn]
        listener.say(f"trials     {len(wanted)}: {trials} of each method on each dataset  (--trials)")
        try:
            execute(planned, place, scheduling, force=force, offline=offline, listener=listener)
        finally:
            kept = [_kept(group, place) for group in groups]
    shared = {"backbone": backbone, "paradigm": paradigm, "protocol": protocol, "ranker": ranker}
    _print([records for _, records in kept], [path for path, _ in kept], shared, settings or [], as_json=json)
    if any(record["status"] == "failed" for _, records in kept for record in records):
        raise typer.Exit(1)


def _kept(group: Sequence[tuple[Trial, Planned]], place: Root) -> tuple[Path, list[dict[str, Any]]]:
    """One method's ledger on one dataset, and the records that it now has of these trials. Read from the
    bundles, so that an interrupted command keeps what it has finished."""
    from recbench.planning.tuning import keep, ledger, record
    from recbench.results import bundle

    folders = [(trial, run, place.runs / run.spec.id) for trial, run in group]
    records = [
        record(trial, run, bundle.load(folder)) for trial, run, folder in folders if bundle.status(folder)
    ]
    path = ledger(place, group[0][0].resolved)
    if records:
        keep(path, records)
    return path, records


def _print(
    groups: Sequence[Sequence[Mapping[str, Any]]],
    ledgers: Sequence[Path],
    shared: Mapping[str, str | None],
    settings: Sequence[str],
    *,
    as_json: bool,
) -> None:
    from recbench.cli._output import print_json, print_table
    from recbench.planning.tuning import best
    from recbench.protocol import PRIMARY_METRIC

    chosen = [best(records) for records in groups]
    commands = _commands([record for record in chosen if record is not None], shared, settings)
    if as_json:
        found = [
            {"ledger": str(path), "trials": list(records), "best": record and record["run"]}
            for records, path, record in zip(groups, ledgers, chosen, strict=True)
        ]
        print_json({"tuned": found, "commands": commands})
        return
    columns = (
        "run",
        "method",
        "dataset",
        "trial",
        PRIMARY_METRIC.upper(),
        "seconds",
        "tokens",
        "status",
        "best",
    )
    runs = {record["run"] for record in chosen if record is not None}
    rows = [
        (
            record["run"],
            record["label"],
            record["dataset"],
            record["trial"],
            "-" if record[PRIMARY_METRIC] is None else f"{record[PRIMARY_METRIC]:.4f}",
            "-" if record["seconds"] is None else f"{record['seconds']:.1f}",
            record["trained_tokens"],
            _status(record),
            "<-" if record["run"] in runs else "",
        )
        for records in groups
        for record in sorted(records, key=lambda record: -(record[PRIMARY_METRIC] or 0.0))
    ]
    print_table(
        columns, rows, title="trials on validation items, best first; trial 0 is the method's defaults"
    )
    for path in ledgers:
        echo(f"ledger: {path}")
    for command in commands:
        echo(f"next: {command}")


def _status(record: Mapping[str, Any]) -> str:
    if record["status"] == "failed":
        return f"failed ({record['class']}): {record['message']}"
    return "did not train" if record["did_not_train"] else "complete"


def _commands(
    chosen: Sequence[Mapping[str, Any]], shared: Mapping[str, str | None], settings: Sequence[str]
) -> list[str]:
    """For each dataset the command that runs every method with its best values, on test items."""
    flags = [word for name, value in shared.items() if value is not None for word in (f"--{name}", value)]
    flags += [word for pair in settings for word in ("--set", pair)]
    methods: dict[str, list[str]] = defaultdict(list)
    for record in chosen:
        methods[record["dataset"]] += ["-m", record["asked"]]
    return [
        shlex.join(["recbench", "run", *names, "-d", dataset, *flags]) for dataset, names in methods.items()
    ]
