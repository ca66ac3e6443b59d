"""`recbench compare`: differences between finished runs, their intervals and tests. It needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.cli._options import (
    JsonOption,
    MetricOption,
    OfBackboneOption,
    OfParadigmOption,
    RootOption,
    SetsOption,
    UnderProtocolOption,
    find_root,
)
from recbench.cli._output import echo, print_json, warn
from recbench.cli.reference import completion
from recbench.errors import UsageError
from recbench.protocol import PRIMARY_METRIC

if TYPE_CHECKING:
    from recbench.comparison.across_datasets import Across
    from recbench.comparison.family import Family


def compare(
    method: Annotated[
        list[str],
        typer.Argument(
            metavar="METHOD|RUN|FILE",
            help="Methods as on a board, with all their seeds; METHOD@BLOCK such as ilrec@title; run ids; or "
            "files of score --per-user.",
            autocompletion=completion.runs_and_methods,
        ),
    ],
    dataset: SetsOption = None,
    backbone: OfBackboneOption = None,
    paradigm: OfParadigmOption = None,
    protocol: UnderProtocolOption = None,
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
    from recbench.api.sides import check_several, families
    from recbench.comparison.sides import Where, over_datasets
    from recbench.exchange.per_user_file import is_table

    check_several(method)
    if any(map(is_table, method)):
        _compare_files(method, metric, reference=reference, margin=margin, stratum=stratum, as_json=json)
        return
    where = Where(datasets=dataset or (), backbone=backbone, paradigm=paradigm, protocol=protocol)
    found = families(
        find_root(root),
        method,
        metric,
        where=where,
        margin=margin,
        reference=reference,
        stratum=stratum,
        left_out=warn,
    )
    refused = [pair for family in found.values() for pair in family.refused]
    across = over_datasets(found)
    _print([(data.dataset, family) for data, family in found.items()], across, as_json=json)
    if diagram is not None:
        _write_diagram(diagram, across)
    for a, b, error in refused:
        echo(f"not compared: {a} and {b}: {error.what} ({error.why})", err=True)
    if refused:
        raise typer.Exit(refused[0][2].exit_code)


def _compare_files(
    files: Sequence[str],
    metric: str,
    *,
    reference: str | None,
    margin: float | None,
    stratum: str,
    as_json: bool,
) -> None:
    """Files of one line a user, whoever made them."""
    from recbench.exchange.per_user_comparison import compare_files
    from recbench.exchange.per_user_file import is_table, read

    if not all(map(is_table, files)):
        run = next(text for text in files if not is_table(text))
        raise UsageError(
            f"a file is compared with files, and '{run}' is none",
            fix=f"recbench score RUN --per-user FILE.csv, with the runs of {run}",
        )
    if stratum != "all":
        raise UsageError(f"--stratum {stratum} needs finished runs", why="files say nothing of their targets")
    read_files = [read(Path(text), metric) for text in files]
    family = compare_files(read_files, metric, reference=reference, margin=margin)
    data = next((file.about["dataset"] for file in read_files if "dataset" in file.about), "these files")
    _print([(data, family)], None, as_json=as_json)


def _print(families: Sequence[tuple[str, Family]], across: Across | None, *, as_json: bool) -> None:
    if as_json:
        print_json(_record(families, across))
        return
    from recbench.cli._texts.comparison import across_text, print_family

    for data, family in families:
        print_family(data, family)
    if across is not None:
        echo(across_text(across))


def _write_diagram(path: Path, across: Across | None) -> None:
    from recbench.comparison.critical_difference import critical_difference

    if across is None:
        raise UsageError("a critical-difference diagram needs several datasets that all methods ran on")
    path.write_text(critical_difference(across), encoding="utf-8")


def _record(families: Sequence[tuple[str, Family]], across: Across | None) -> dict[str, Any]:
    """All of it as a JSON value."""
    return {
        "comparisons": [
            {"dataset": data, **asdict(comparison)}
            for data, family in families
            for comparison in family.comparisons
        ],
        "standings": [
            {"dataset": data, **asdict(standing)}
            for data, family in families
            for standing in family.standings
        ],
        "across": None if across is None else asdict(across),
    }
