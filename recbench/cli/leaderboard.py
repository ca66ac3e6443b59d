"""Commands for what finished runs become: boards, the store, the papers' tables. None of them needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recbench.api.boards import LOCAL
from recbench.cli._options import JsonOption, RankedAgainOption, RootOption, find_root
from recbench.cli._output import echo, warn
from recbench.cli.reference import completion
from recbench.cli.reference.help import Grouped
from recbench.errors import DigestError

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.results.bundle import Bundle

leaderboard = typer.Typer(
    help="Build boards from finished runs.", cls=Grouped, no_args_is_help=True, rich_markup_mode=None
)
NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Folder under leaderboards/.",
        autocompletion=completion.boards,
    ),
]


@leaderboard.callback()
def _boards() -> None:
    """Build boards from finished runs, and check that a board is what its runs give."""


@leaderboard.command("build")
def build(
    name: NameArgument = LOCAL,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="Metric to rank by, e.g. hr@5. [the study's, else ndcg@10]",
            autocompletion=completion.metrics,
        ),
    ] = None,
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

    Also leaderboards/index.html, over all boards but that called local.

    Where the folder holds a study.toml, its runs alone, by its metric and its pairs.
    """
    from recbench.api import boards
    from recbench.base.files import scratch
    from recbench.board import folder as records
    from recbench.board import render
    from recbench.cli._output import console, print_json

    place = find_root(root)
    folder = boards.folder_of(place, name)
    with scratch() as fetched:
        board, bundles = boards.build(
            place,
            name,
            lambda: _bundles(place, source, folder, Path(fetched)),
            source=source,
            metric=metric,
            reference=reference,
        )
        forms = records.write(folder, board, bundles)
    if json:
        print_json(board.to_json())
    else:
        console().print(render.terminal(board))
        echo(f"wrote {folder}/{', '.join(forms)}", err=True)


@leaderboard.command("check")
def check(name: NameArgument = LOCAL, root: RootOption = None) -> None:
    """Rebuild a board from its records; exit 5 unless every number and every file comes out the same."""
    from recbench.api.boards import folder_of
    from recbench.board import folder as records

    folder = folder_of(find_root(root), name)
    board = records.check(folder)
    rows = sum(len(table.rows) for table in board.tables)
    echo(f"{folder}: {rows} rows from {len(board.records)} records, as committed")
    echo(
        "not checked: that the lists have the held-out items at these ranks, which needs the data, and the "
        f"certificates, which need the weights: recbench verify {name}",
        err=True,
    )
    for line in board.verified:
        echo(f"the board says, as of its verification: {line}", err=True)


@leaderboard.command("submit")
def submit(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Folder under leaderboards/ with a study.toml.",
            autocompletion=completion.boards,
        ),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[METHOD|RUN]...",
            help="Methods whose finished runs come to the board, or ids of runs. [all of its study]",
            autocompletion=completion.runs,
        ),
    ] = None,
    checkout: Annotated[
        Path | None,
        typer.Option(help="A checkout of the repository that keeps the board; the new one is put there too."),
    ] = None,
    users: RankedAgainOption = 64,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Add finished runs to a board for a pull request: its folder, checked and verified, and its text."""
    from recbench.api.boards import folder_of
    from recbench.cli._output import print_json
    from recbench.submission import compose, submit

    place = find_root(root)
    folder_of(place, name)
    into = None if checkout is None else place.cwd / checkout.expanduser()
    made, found = submit.submit(name, runs or [], place, checkout=into, users=users, say=warn)
    put = None if into is None else compose.put(made, name, into)
    if json:
        places = {"folder": made, "text": made / submit.TEXT, "put": put}
        record = {name: None if path is None else str(path) for name, path in places.items()}
        lists = {"methods": found.choice.methods, "runs": sorted(found.ids), "verified": found.board.verified}
        print_json({**record, **lists})
        return
    echo(f"{made}: {len(found.ids)} new runs, {len(found.board.records)} records, checked and verified")
    echo(f"the text of the pull request: {made / submit.TEXT}")
    echo(
        f"to put it into a checkout: recbench leaderboard submit {name} ... --checkout FOLDER"
        if put is None
        else f"{put}: replaced; git add it, commit, and open the pull request"
    )


def _bundles(root: Root, source: str, folder: Path, fetched: Path) -> list[Bundle]:
    from recbench.board import folder as records
    from recbench.cli._runs import all_bundles

    if source == "records":
        return records.read(folder)
    if source == "mlflow":
        from recbench.exchange import sync
        from recbench.results import bundle

        runs = []
        for path in sync.fetch(fetched, root, warn):
            try:
                runs.append(bundle.load(path, record=True))
            except DigestError as error:
                warn(f"run {path.name} of the store is left out: {error.what} ({error.why})")
        return runs
    return all_bundles(root)
