"""What a comparison needs before it is run: recbench plan."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.cli.options import PRIMARY_METRIC, JsonOption, MetricOption, RootOption, find_root
from recbench.errors import MissingError, RecbenchError

if TYPE_CHECKING:
    from recbench.bundle import Bundle

SEEDS = 5


def plan(
    power: Annotated[
        float, typer.Option("--power", min=1e-9, help="The difference to be found, e.g. 0.002 of NDCG@10.")
    ],
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="Methods as on a board (default: all).")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="Data sets (default: all).")
    ] = None,
    metric: MetricOption = PRIMARY_METRIC,
    tests: Annotated[
        int | None, typer.Option(min=1, help="Size of the family of tests (default: the pairs shown).")
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """How many seeds and users it takes to find a difference, judged by the runs that there are."""
    from recbench.cli import comparing
    from recbench.cli.output import print_json, print_table

    place = find_root(root)
    groups = comparing.sides(place, method) if method else comparing.all_sides(place)
    rows = []
    for (name, *_), sides in groups.items():
        if not dataset or name in dataset:
            rows += _needs(name, sides, metric, power, tests)
    if not rows:
        raise MissingError(
            "no two methods have the runs from which variances could be measured",
            why="it takes two seeds of each method on the same data",
            mend="recbench run -m A -m B -d DATASET --seeds 3",
        )
    if json:
        print_json(rows)
        return
    columns = {key: heading.format(seeds=SEEDS, difference=power) for key, heading in COLUMNS.items()}
    title = f"{metric}: what finds a difference of {power:g} with 80 % power"
    print_table(list(columns.values()), [[row[key] for key in columns] for row in rows], title=title)
    typer.echo(
        "sd: over users of A - B, over seeds of a mean; '-': out of reach, as the rest varies too much"
    )


COLUMNS = {
    "dataset": "dataset",
    "a": "A",
    "b": "B",
    "num_users": "users",
    "num_seeds": "seeds",
    "smallest_difference": "found now",
    "sd_users": "sd users",
    "sd_seeds": "sd seeds",
    "seeds_needed": "seeds needed, these users",
    "users_needed": "users needed, {seeds} seeds",
}


def _needs(
    dataset: str, sides: Mapping[str, list[Bundle]], metric: str, difference: float, tests: int | None
) -> list[dict[str, Any]]:
    """A record for each pair of methods; those of one seed of many are named and left out."""
    from recbench import power
    from recbench.compare import compare, share_seeds, values
    from recbench.significance import ALPHA

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
