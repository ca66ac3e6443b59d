"""`recbench sync | ui`: finished runs in MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from recbench.base.words import plural
from recbench.cli._options import RootOption, find_root
from recbench.cli._output import echo, warn
from recbench.errors import MissingError, UsageError

if TYPE_CHECKING:
    from recbench.base.root import Root


def sync(root: RootOption = None) -> None:
    """Bring all runs, also failed ones, and all boards to MLflow; what is there already is left alone."""
    from recbench.cli._runs import all_bundles
    from recbench.exchange.sync import sync as bring

    place = find_root(root)
    uri = store_of(place)
    bundles = all_bundles(place)
    count = bring(bundles, place, lambda text: echo(text, err=True))
    echo(f"{count} of {len(bundles)} runs were new to {uri}")
    new, boards = _bring_boards(place)
    if boards:
        echo(f"{new} of {plural(boards, 'board')} were new or had changed")


def _bring_boards(root: Root) -> tuple[int, int]:
    """How many boards were logged, and how many there are."""
    from recbench.board import folder
    from recbench.board.overview import BOARD
    from recbench.exchange.sync import sync_boards

    found = folder.boards_of(root.path)
    return sync_boards(found, (BOARD, *folder.FORMS), root), len(found)


def ui(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    root: RootOption = None,
) -> None:
    """Serve MLflow's own pages on the store of this root; where it is a server, say its address."""
    from recbench.exchange import mlflow_store

    place = find_root(root)
    uri = store_of(place)
    if uri.startswith("http"):
        echo(uri)
        return
    try:
        _bring_boards(place)
    except MissingError as error:
        warn(f"the boards are not in the store: {error.what} ({error.why})")
    echo(f"{uri} at http://{host}:{port}{mlflow_store.first_view(uri)}", err=True)
    raise typer.Exit(mlflow_store.serve(uri, artifacts_root=place.artifacts, host=host, port=port))


def store_of(root: Root) -> str:
    if root.mlflow_uri is None:
        raise UsageError("the store is turned off", fix="set mlflow in recbench.toml, or RECBENCH_MLFLOW")
    return root.mlflow_uri
