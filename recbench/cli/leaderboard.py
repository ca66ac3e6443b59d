"""Commands for what finished runs become: boards, the store, the papers' tables. None of them needs torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recbench.cli._options import PRIMARY_METRIC, JsonOption, MetricOption, RootOption, find_root
from recbench.errors import MissingError, UsageError

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.results.bundle import Bundle

LOCAL = "local"

leaderboard = typer.Typer(
    help="Build boards from finished runs.", no_args_is_help=True, rich_markup_mode=None
)
NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="Folder under leaderboards/.")]


@leaderboard.callback()
def _boards() -> None:
    """Build boards from finished runs, and check that a board is what its runs give."""


@leaderboard.command("build")
def build(
    name: NameArgument = LOCAL,
    metric: MetricOption = PRIMARY_METRIC,
    reference: Annotated[
        str | None,
        typer.Option(help="Row that all are compared with, beside the parent.", show_default="popularity"),
    ] = None,
    source: Annotated[
        Literal["bundles", "mlflow", "records"],
        typer.Option("--from", help="Runs under the root, the MLflow store, or the board's own records."),
    ] = "bundles",
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Rank all finished runs; writes board.json, board.md, board.tex, index.html and the records.

    Where the folder holds a study.toml, its runs alone, by its metric and its pairs.
    """
    from tempfile import TemporaryDirectory

    from recbench.board import build as boards
    from recbench.board import folder as records
    from recbench.board import render
    from recbench.cli._output import console, print_json
    from recbench.cli._report import FIRST_RUN
    from recbench.planning import study_runs

    place = find_root(root)
    folder = _folder(place, name)
    options = {"--metric": metric if metric != PRIMARY_METRIC else None, "--reference": reference}
    words = [name] if name != LOCAL else []
    words += [word for option, value in options.items() if value for word in (option, value)]
    study = records.study_of(folder)
    if study is not None:
        metric = metric if metric != PRIMARY_METRIC else study.metric
        reference = reference or study.reference
    with TemporaryDirectory() as fetched:
        bundles = _bundles(place, source, folder, Path(fetched))
        if not bundles:
            raise MissingError(f"there are no runs in {source} of {place.path}", fix=FIRST_RUN)
        if study is not None:
            bundles = study_runs.members(study, bundles)
        board = boards.build(
            bundles,
            metric=metric,
            reference=reference,
            pairs="declared" if study is None or study.reference else "all",
            missing=records.missing(folder, bundles),
            command=" ".join(["recbench leaderboard build", *words]),
        )
        forms = records.write(folder, board, bundles)
    if json:
        print_json(board)
    else:
        console().print(render.terminal(board))
        typer.echo(f"wrote {folder}/{', '.join(forms)}", err=True)


@leaderboard.command("check")
def check(name: NameArgument = LOCAL, root: RootOption = None) -> None:
    """Rebuild a board from its records; exit 5 unless every number and every file comes out the same."""
    from recbench.board import folder as records

    folder = _folder(find_root(root), name)
    board = records.check(folder)
    rows = sum(len(table["rows"]) for table in board["tables"])
    typer.echo(f"{folder}: {rows} rows from {len(board['records'])} records, as committed")


def _folder(root: Root, name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise UsageError(f"'{name}' is no name of a board", why="letters, digits, '.', '-', '_'")
    return root.path / "leaderboards" / name


def _bundles(root: Root, source: str, folder: Path, fetched: Path) -> list[Bundle]:
    from recbench.board import folder as records
    from recbench.cli._report import all_bundles

    if source == "records":
        return records.read(folder)
    if source == "mlflow":
        from recbench.exchange import mlflow_store
        from recbench.results import bundle

        return [bundle.load(path, record=True) for path in mlflow_store.fetch(fetched, uri=_store_of(root))]
    return all_bundles(root)


def sync(root: RootOption = None) -> None:
    """Bring all runs, also failed ones, to MLflow; what is there already is left alone."""
    from recbench.cli._report import all_bundles
    from recbench.exchange.sync import sync as bring

    place = find_root(root)
    uri = _store_of(place)
    bundles = all_bundles(place)
    count = bring(bundles, place)
    typer.echo(f"{count} of {len(bundles)} runs were new to {uri}")


def ui(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    root: RootOption = None,
) -> None:
    """Serve MLflow's own pages on the store of this root; where it is a server, say its address."""
    from recbench.exchange import mlflow_store

    place = find_root(root)
    uri = _store_of(place)
    if uri.startswith("http"):
        typer.echo(uri)
        return
    typer.echo(f"{uri} at http://{host}:{port}", err=True)
    raise typer.Exit(mlflow_store.serve(uri, artifacts_root=place.artifacts, host=host, port=port))


def _store_of(root: Root) -> str:
    if root.mlflow_uri is None:
        raise UsageError("the store is turned off", fix="set mlflow in recbench.toml, or RECBENCH_MLFLOW")
    return root.mlflow_uri


def reproduce(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="ilrec-table1 ... ilrec-table6, soft-table2.")
    ],
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Set the cells of a paper's table beside ours: ratio, interval, verdict, and why they may differ."""
    from dataclasses import asdict

    from recbench.board.reproduce import groups, legend, line, published, reproduce
    from recbench.cli._output import print_json, print_table
    from recbench.cli._report import all_bundles

    wanted = published(table)
    cells = reproduce(wanted, all_bundles(find_root(root)))
    if json:
        print_json({"table": wanted.name, "source": wanted.source, "cells": [asdict(cell) for cell in cells]})
        return
    typer.echo(f"{wanted.title} ({wanted.source})\n")
    columns = ["method", "metric", "published", "ours", "ratio", "verdict", "cause"]
    for heading, inside in groups(cells).items():
        print_table(columns, [line(cell) for cell in inside], title=heading)
    for text in legend(wanted, cells):
        typer.echo(text)
