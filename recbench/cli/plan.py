"""`recbench plan`: the state and the cost of runs, and the seeds that a comparison needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.api.matrix import study_or_selections
from recbench.api.scheduling import Scheduling
from recbench.base.words import plural
from recbench.cli._options import (
    BackboneOption,
    DatasetsOption,
    GpusOption,
    JsonOption,
    LimitUsersOption,
    MethodsOption,
    MetricOption,
    NodesOption,
    OfflineOption,
    ParadigmOption,
    ProtocolOption,
    RegimeOption,
    RootOption,
    SeedOption,
    SeedsOption,
    SettingsOption,
    StudyOption,
    find_root,
)
from recbench.cli._output import echo
from recbench.errors import MissingError
from recbench.protocol import PRIMARY_METRIC

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.comparison.sides import Where
    from recbench.planning.cost_estimate import Estimate
    from recbench.planning.forecast import Prospect
    from recbench.planning.resolve import Selection
    from recbench.planning.study import Study


def plan(
    method: MethodsOption = None,
    dataset: DatasetsOption = None,
    study: StudyOption = None,
    backbone: BackboneOption = None,
    paradigm: ParadigmOption = None,
    protocol: ProtocolOption = None,
    seed: SeedOption = None,
    seeds: SeedsOption = None,
    settings: SettingsOption = None,
    regime: RegimeOption = None,
    limit_users: LimitUsersOption = None,
    gpus: GpusOption = None,
    nodes: NodesOption = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Time kinds of runs that were never measured, here, for a minute each."
        ),
    ] = False,
    measure_limit: Annotated[
        str, typer.Option("--measure-limit", metavar="TIME", help="With --measure: the longest of one kind.")
    ] = "60s",
    power: Annotated[
        float | None,
        typer.Option("--power", min=1e-9, help="Instead: what finds this difference, e.g. 0.002 of NDCG@10."),
    ] = None,
    metric: MetricOption = PRIMARY_METRIC,
    tests: Annotated[
        int | None, typer.Option(min=1, help="With --power: size of the family of tests [the pairs shown].")
    ] = None,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """What is done, cached, to run or blocked, and what it will take; nothing is prepared or fetched.

    With --measure, data are prepared and backbones fetched as for a run; a few steps of each method's fit and
    the ranking of a few users are timed, and thrown away.

    With --power, how many seeds and users find a difference, judged by the finished runs: -m names methods as
    compare does, -d, -b, -p and --protocol leave out other runs.
    """
    place = find_root(root)
    if power is not None:
        from recbench.comparison.sides import Where

        where = Where(datasets=dataset or (), backbone=backbone, paradigm=paradigm, protocol=protocol)
        _plan_power(place, method, where, metric=metric, difference=power, num_tests=tests, as_json=json)
        return
    matrix, selections = study_or_selections(
        study,
        place,
        method=method,
        dataset=dataset,
        backbone=backbone,
        paradigm=paradigm,
        protocol=protocol,
        seed=seed,
        seeds=seeds,
        settings=settings,
        regime=regime,
        limit_users=limit_users,
    )
    scheduling = Scheduling(gpus=gpus, nodes=nodes)
    limit = measure_limit if measure else None
    _plan_runs(place, matrix, selections, scheduling, offline=offline, as_json=json, measure_limit=limit)


def _plan_runs(
    root: Root,
    matrix: Study | None,
    selections: Sequence[Selection],
    flags: Scheduling,
    *,
    offline: bool,
    as_json: bool,
    measure_limit: str | None,
) -> None:
    from recbench.api.forecasts import foreseen
    from recbench.api.matrix import control_notes
    from recbench.cli._execute import interruptible
    from recbench.cli._output import print_json, print_table
    from recbench.planning.resources import seconds_of

    if measure_limit is None:
        found = foreseen(matrix, selections, root, flags, offline=offline)
    else:
        with interruptible("interrupted; nothing of what was timed is left") as listener:
            found = foreseen(
                matrix,
                selections,
                root,
                flags,
                offline=offline,
                measure_seconds=seconds_of(measure_limit),
                listener=listener,
            )
    runs, whole = found.runs, found.totals
    if as_json:
        print_json({"runs": [_record(run, found.gpus[run.name]) for run in runs], "totals": asdict(whole)})
        return
    rows = [
        (
            "-" if run.spec is None else run.spec.id,
            run.name,
            plural(run.needed_by, "run") if run.needed_by else "-",
            run.state,
            "-" if run.expected is None else time_text(run.expected),
            "-" if run.expected is None else memory_text(run.expected),
            "-" if run.expected is None else run.expected.like,
            run.why or "-",
        )
        for run in runs
    ]
    columns = ("run", "name", "parent of", "state", "expected", "memory", "known from", "why")
    print_table(columns, rows, dispensable=("memory", "known from"))
    counts = Counter(run.state for run in runs)
    echo(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    expected = f"{minutes_text(whole.seconds)} of runs, {whole.gpu_hours:.1f} GPU-hours"
    unknown = (
        f", and {plural(whole.unknown, 'run')} of a kind that was not measured yet" if whole.unknown else ""
    )
    echo(
        f"to come: {plural(whole.runs, 'run')}; {expected}{unknown}; "
        f"about {whole.cache_bytes / 2**30:.1f} GiB"
    )
    if any(map(_is_searched_untrained, runs)):
        echo(
            "rankings timed here are upper bounds: with a model of so few steps, exact search visits more of "
            "the trie than with a trained one"
        )
    for note in control_notes([run.resolved for run in runs if run.resolved is not None]):
        echo(f"note: {note}")
    for fix in sorted({run.fix for run in runs if run.fix}):
        echo(f"try: {fix}")


def _is_searched_untrained(run: Prospect) -> bool:
    timed = run.expected is not None and run.expected.timed
    return timed and run.spec is not None and (run.spec.ranker or {}).get("name") == "exact"


def _record(run: Prospect, gpus: int) -> dict[str, Any]:
    """A run as a JSON value for programs."""
    return {
        "run": None if run.spec is None else run.spec.id,
        "fit": None if run.spec is None else run.spec.fit.id,
        "name": run.name,
        "state": run.state,
        "why": run.why,
        "fix": run.fix,
        "parent": run.parent,
        "needed_by": run.needed_by,
        "gpus": gpus,
        "seconds": None if run.expected is None else run.expected.seconds,
        "measured_on": None if run.expected is None else run.expected.like,
        "host_bytes": None if run.expected is None else run.expected.host_bytes or None,
        "gpu_bytes": None if run.expected is None else run.expected.gpu_bytes,
        "rank_seconds": None if run.expected is None else run.expected.rank_seconds,
    }


def time_text(expected: Estimate) -> str:
    """`12 min`, with the ranking's part where it was timed apart."""
    whole, ranking = minutes_text(expected.seconds), expected.rank_seconds
    return whole if ranking is None else f"{whole}, {minutes_text(ranking)} to rank"


def memory_text(expected: Estimate) -> str:
    """`1.2 GiB`, with that of a GPU where one is used; `-` where it is not known."""
    host = f"{expected.host_bytes / 2**30:.1f} GiB" if expected.host_bytes else "-"
    return host if expected.gpu_bytes is None else f"{host}, GPU {expected.gpu_bytes / 2**30:.1f} GiB"


def minutes_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _plan_power(
    root: Root,
    method: list[str] | None,
    where: Where,
    *,
    metric: str,
    difference: float,
    num_tests: int | None,
    as_json: bool,
) -> None:
    """How many seeds and users it takes to find a difference, judged by the runs that there are."""
    from recbench.api.sides import finished, named
    from recbench.cli._output import print_json, print_table, warn
    from recbench.comparison.needs import SEEDS, needs
    from recbench.comparison.sides import all_sides

    if method:
        groups, _ = named(root, method, where, warn)
    else:
        groups = all_sides(where.among(finished(root, warn)), _left_out)
    records = [
        asdict(need)
        for data, sides in groups.items()
        for need in needs(data.dataset, sides, metric, difference, num_tests=num_tests, left_out=_left_out)
    ]
    if not records:
        raise MissingError(
            "no two methods have the runs from which variances could be measured",
            why="it takes two seeds of each method on the same data",
            fix="recbench run -m A -m B -d DATASET --seeds 3",
        )
    if as_json:
        print_json(records)
        return
    columns = COLUMNS | SPREADS
    for name in dict.fromkeys(record["dataset"] for record in records):
        rows = [[_cell(record, key) for key in columns] for record in records if record["dataset"] == name]
        title = f"{metric} on {name}: what finds a difference of {difference:g} with 80 % power"
        print_table(list(columns.values()), rows, title=title, dispensable=list(SPREADS.values()))
    echo(
        f"10, 20 seeds: what they find with these users; seeds needed: with these users; users needed: with "
        f"{SEEDS} seeds; cheapest: seeds x users with the smallest product; -: out of reach, the rest varies"
        "; sd: over users of A - B, over seeds of a mean"
    )


def _left_out(text: str) -> None:
    echo(f"left out: {text}", err=True)


COLUMNS = {
    "a": "A",
    "b": "B",
    "num_users": "users",
    "num_seeds": "seeds",
    "smallest_difference": "found now",
    "seeds_needed": "seeds needed",
    "users_needed": "users needed",
    "cheapest": "cheapest",
}
SPREADS = {"10": "10 seeds", "20": "20 seeds", "sd_users": "sd users", "sd_seeds": "sd seeds"}


def _cell(record: Mapping[str, Any], key: str) -> object:
    if key == "cheapest":
        seeds, users = record["cheapest_seeds"], record["cheapest_users"]
        return None if users is None else f"{users:,}" if seeds is None else f"{seeds} x {users:,}"
    return record["found_with"][int(key)] if key.isdigit() else record[key]
