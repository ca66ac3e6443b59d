"""What runs will take, and what a comparison needs, before anything is run: `recbench plan`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.cli._execute import Scheduling, study_or_selections
from recbench.cli._options import (
    PRIMARY_METRIC,
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
from recbench.errors import MissingError, RecbenchError

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.planning.resolve import Selection
    from recbench.planning.study import Study
    from recbench.results.bundle import Bundle

SEEDS = 5


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

    With --power, how many seeds and users find a difference, judged by the runs that there are.
    """
    place = find_root(root)
    if power is not None:
        plan_power(place, method, dataset, metric=metric, difference=power, tests=tests, as_json=json)
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
    _plan_runs(place, matrix, selections, scheduling, offline=offline, as_json=json)


def _plan_runs(
    place: Root,
    matrix: Study | None,
    selections: Sequence[Selection],
    scheduling: Scheduling,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    from recbench.cli._output import print_json, print_table
    from recbench.planning.forecast import prospects, totals
    from recbench.planning.resources import Resources

    found = prospects(selections, place, offline=offline)
    resources = {}
    for one in found:
        base = Resources() if matrix is None or one.resolved is None else matrix.resources_of(one.resolved)
        resources[one.name] = base.with_flags(gpus=scheduling.gpus, nodes=scheduling.nodes, minutes=None)
    gpus = {name: one.gpus * one.nodes for name, one in resources.items()}
    records: list[dict[str, Any]] = [
        {
            "run": None if one.spec is None else one.spec.id,
            "fit": None if one.spec is None else one.spec.fit.id,
            "name": one.name,
            "state": one.state,
            "why": one.why,
            "fix": one.fix,
            "parent": one.parent,
            "needed_by": one.needed_by,
            "gpus": gpus[one.name],
            "seconds": None if one.expected is None else one.expected.seconds,
            "measured_on": None if one.expected is None else one.expected.like,
        }
        for one in found
    ]
    whole = totals(found, gpus, place)
    if as_json:
        print_json({"runs": records, "totals": asdict(whole)})
        return
    rows = [
        (
            record["run"] or "-",
            record["name"],
            f"{record['needed_by']} runs" if record["needed_by"] else "-",
            record["state"],
            "-" if record["seconds"] is None else minutes_text(record["seconds"]),
            record["why"] or "-",
        )
        for record in records
    ]
    print_table(("run", "name", "parent of", "state", "expected", "why"), rows)
    counts = Counter(one.state for one in found)
    typer.echo(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    expected = f"{minutes_text(whole.seconds)} of runs, {whole.gpu_hours:.1f} GPU-hours"
    unknown = f", and {whole.unknown} runs of a kind that was not measured yet" if whole.unknown else ""
    typer.echo(f"to come: {whole.runs} runs; {expected}{unknown}; about {whole.cache_bytes / 2**30:.1f} GiB")
    for fix in sorted({one.fix for one in found if one.fix}):
        typer.echo(f"try: {fix}")


def minutes_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plan_power(
    place: Root,
    method: list[str] | None,
    dataset: list[str] | None,
    *,
    metric: str,
    difference: float,
    tests: int | None,
    as_json: bool,
) -> None:
    """How many seeds and users it takes to find a difference, judged by the runs that there are."""
    from recbench.cli import _comparison
    from recbench.cli._output import console, print_json, print_table

    groups = _comparison.sides(place, method) if method else _comparison.all_sides(place)
    rows = []
    for (name, *_), sides in groups.items():
        if not dataset or name in dataset:
            rows += _needs(name, sides, metric, difference, tests)
    if not rows:
        raise MissingError(
            "no two methods have the runs from which variances could be measured",
            why="it takes two seeds of each method on the same data",
            fix="recbench run -m A -m B -d DATASET --seeds 3",
        )
    if as_json:
        print_json(rows)
        return
    wide = console().width >= _comparison.WIDE
    columns = COLUMNS | (SPREADS if wide else {})
    for name in dict.fromkeys(row["dataset"] for row in rows):
        inside = [[row[key] for key in columns] for row in rows if row["dataset"] == name]
        title = f"{metric} on {name}: what finds a difference of {difference:g} with 80 % power"
        print_table(list(columns.values()), inside, title=title)
    typer.echo(
        f"seeds needed: with these users; users needed: with {SEEDS} seeds; -: out of reach, the rest varies"
        + ("; sd: over users of A - B, over seeds of a mean" if wide else "")
    )


COLUMNS = {
    "a": "A",
    "b": "B",
    "num_users": "users",
    "num_seeds": "seeds",
    "smallest_difference": "found now",
    "seeds_needed": "seeds needed",
    "users_needed": "users needed",
}
SPREADS = {"sd_users": "sd users", "sd_seeds": "sd seeds"}


def _needs(
    dataset: str, sides: Mapping[str, list[Bundle]], metric: str, difference: float, tests: int | None
) -> list[dict[str, Any]]:
    """A record for each pair of methods; those of one seed of many are named and left out."""
    from recbench.comparison import power
    from recbench.comparison.compare import compare, share_seeds, values
    from recbench.comparison.significance import ALPHA

    known = {}
    for name, runs in sides.items():
        if len(runs) == 1 and runs[0].seed is not None:
            typer.echo(
                f"left out: {name} on {dataset} has one seed, so what seeds vary is not known", err=True
            )
        else:
            known[name] = sorted(runs, key=lambda run: (run.seed is not None, run.seed))
    pairs = list(combinations(known, 2))
    rows = []
    for a, b in pairs:
        num_tests = tests or len(pairs)
        try:
            one = compare(known[a], known[b], metric, num_tests=num_tests)
        except RecbenchError as error:
            typer.echo(f"left out: {a} and {b} on {dataset}: {error.what} ({error.why})", err=True)
            continue
        parts = power.components(
            values(known[a], metric), values(known[b], metric), joint=share_seeds(known[a], known[b])
        )
        alpha = ALPHA / num_tests
        rows.append(
            {
                "dataset": dataset,
                "a": a,
                "b": b,
                "metric": one.metric,
                "difference": difference,
                "num_tests": num_tests,
                "num_users": one.num_users,
                "num_seeds": min(len(runs) for runs in (known[a], known[b]) if runs[0].seed is not None)
                if parts.seeds
                else None,
                "smallest_difference": one.smallest_difference,
                "sd_users": parts.users**0.5,
                "sd_seeds": max((seeds.between for seeds in parts.seeds), default=0.0) ** 0.5,
                "seeds_needed": power.seeds_needed(difference, parts, num_users=one.num_users, alpha=alpha),
                "users_needed": power.users_needed(difference, parts, num_seeds=SEEDS, alpha=alpha),
            }
        )
    return rows
