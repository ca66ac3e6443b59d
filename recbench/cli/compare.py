"""Commands that read finished runs: compare, score. None of them needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recbench.cli._options import PRIMARY_METRIC, JsonOption, MetricOption, RootOption, find_root
from recbench.errors import UsageError, unknown_name


def compare(
    method: Annotated[
        list[str], typer.Argument(metavar="A B ...", help="Run ids, or methods as on a board.")
    ],
    metric: MetricOption = PRIMARY_METRIC,
    margin: Annotated[
        float | None, typer.Option(help="Also test whether differences lie within this much.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Compare the others with this one alone, instead of all pairs.")
    ] = None,
    stratum: Annotated[
        str,
        typer.Option(help="Count only some users: head, mid, tail by their target, long, medium, short."),
    ] = "all",
    diagram: Annotated[
        Path | None, typer.Option(help="Write a critical-difference diagram of the datasets, an SVG file.")
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Is A better than B on the same users, and is the difference more than noise?"""
    from recbench.cli import _comparison
    from recbench.cli._output import print_json
    from recbench.comparison.family import compare_all

    if len(method) < 2:
        raise UsageError(f"'{method[0]}' is compared with nothing", fix=f"recbench compare {method[0]} B")
    groups = _comparison.sides(find_root(root), method)
    names = list(dict.fromkeys(name for sides in groups.values() for name in sides))
    if reference is not None and reference not in names:
        raise unknown_name("method among those compared", reference, names)
    families = {
        data: compare_all(sides, metric, reference=reference, margin=margin, stratum=stratum)
        for data, sides in groups.items()
    }
    refused = [one for family in families.values() for one in family.refused]
    if refused and not any(family.comparisons for family in families.values()):
        raise refused[0][2]
    found = _comparison.across(families)
    if json:
        print_json(_comparison.record(families, found))
    else:
        _comparison.print_families(families)
        if found is not None:
            typer.echo(_comparison.across_text(found))
    if diagram is not None:
        _comparison.write_diagram(diagram, found)
    for a, b, error in refused:
        typer.echo(f"not compared: {a} and {b}: {error.what} ({error.why})", err=True)
    if refused:
        raise typer.Exit(refused[0][2].exit_code)
