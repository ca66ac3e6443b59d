"""Commands about finished runs: compare, score, leaderboard, import-ranking, sync. None needs torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from recbench.cli.options import (
    PRIMARY_METRIC,
    JsonOption,
    MetricOption,
    OfflineOption,
    RootOption,
    find_root,
)
from recbench.errors import MissingError, UsageError

leaderboard = typer.Typer(
    help="Build boards from finished runs.", no_args_is_help=True, rich_markup_mode=None
)


@leaderboard.callback()
def _boards() -> None:
    """Build boards from finished runs."""


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Run id, or method as on a board.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Run id, or method as on a board.")],
    metric: MetricOption = PRIMARY_METRIC,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Is A better than B on the same users, and is the difference more than noise?"""
    from dataclasses import asdict

    from recbench import compare as comparison
    from recbench.cli.output import print_json
    from recbench.cli.report import comparison_text, sides

    pairs = sides(find_root(root), first, second)
    found = [(a[0].spec.fit.dataset, comparison.compare(a, b, metric)) for a, b in pairs]
    if json:
        print_json([{"dataset": dataset, **asdict(one)} for dataset, one in found])
        return
    for dataset, one in found:
        typer.echo(comparison_text(dataset, one))


def score(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of finished runs.")],
    k: Annotated[str, typer.Option("--k", help="Cut-offs.")] = "1,5,10,20",
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Compute metrics again from the ranks that runs have left, at any cut-off up to their depth."""
    from recbench.cli.output import interval_text, print_json, print_table
    from recbench.cli.report import find_run, mean_interval

    place = find_root(root)
    cutoffs = _cutoffs(k)
    names = [f"{metric}@{cutoff}" for cutoff in cutoffs for metric in ("hr", "ndcg", "mrr")]
    scores = {}
    for one in (find_run(place, text) for text in run):
        if one.status == "failed":
            raise UsageError(f"run {one.id} failed, so it has no ranks", mend=f"recbench show {one.id}")
        scores[one.id] = {name: mean_interval(one, name) for name in names}
    if json:
        print_json([{"id": run_id, "metrics": found} for run_id, found in scores.items()])
        return
    rows = [[name, *(interval_text(**s[name]) for s in scores.values())] for name in names]
    print_table(["metric", *scores], rows, title="means with 95 % intervals over users")


def _cutoffs(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--k '{text}' is not a list of positive numbers", mend="--k 1,5,10")
    return sorted({int(part) for part in parts})


@leaderboard.command("build")
def build(
    metric: MetricOption = PRIMARY_METRIC,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Rank all finished runs under the root; writes leaderboards/local/board.{json,md} and index.html."""
    from recbench import leaderboard as boards
    from recbench import render
    from recbench.bundle import write_json
    from recbench.cli.output import console, print_json
    from recbench.cli.report import FIRST_RUN, all_bundles

    place = find_root(root)
    bundles = all_bundles(place)
    if not bundles:
        raise MissingError(f"there are no runs under {place.runs}", mend=FIRST_RUN)
    command = "recbench leaderboard build" + ("" if metric == PRIMARY_METRIC else f" --metric {metric}")
    board = boards.build(bundles, metric=metric, command=command)
    folder = place.path / "leaderboards" / "local"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "board.json", board)
    (folder / "board.md").write_text(render.markdown(board), encoding="utf-8")
    (folder / "index.html").write_text(render.html(board), encoding="utf-8")
    if json:
        print_json(board)
    else:
        console().print(render.terminal(board))
        typer.echo(f"wrote {folder}/board.json, board.md, index.html", err=True)


def import_ranking(
    file: Annotated[Path, typer.Argument(help="JSON lines or CSV: user, ranked items.")],
    name: Annotated[str, typer.Option("--name", help="Name of its row on boards.")],
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Data set.")],
    protocol: Annotated[str | None, typer.Option("--protocol", help="Evaluation protocol. [ilrec]")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Which of several fits.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a ranking of that name.")] = False,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Bring a ranking made elsewhere, of the users of `recbench data export`, beside the runs made here."""
    from recbench import card, registry
    from recbench.cli.output import print_json, print_table
    from recbench.cli.progress import listening
    from recbench.cli.report import headline, run_record
    from recbench.external import External
    from recbench.external import import_ranking as bring
    from recbench.prepare import prepare
    from recbench.protocol import get_protocol
    from recbench.sync import sync_pending

    place = find_root(root)
    if name in registry.available():
        raise UsageError(f"'{name}' is a method of recbench", mend=f"--name my-{name}")
    if not re.fullmatch(r"[\w.+-]+", name):
        raise UsageError(f"'{name}' cannot name a row", why="allowed: letters, digits and . + - _")
    if not file.is_file():
        raise MissingError(f"{file} is not there")
    rules = get_protocol(place.setting("protocol", protocol) or "")
    place.check_writable()
    with listening() as listener:
        split = prepare(
            card.find(dataset, place.path),
            rules,
            cache=place.cache,
            data_dir=place.data_dir,
            offline=offline or place.offline,
            report=listener,
        )
        one = External(name=name, file=file, seed=seed)
        run = bring(one, split, rules, runs=place.runs, force=force, report=listener)
        sync_pending([run], place, listener.say)
    if json:
        print_json(run_record(run))
        return
    print_table(*headline([run]), title="metrics with 95 % intervals over users")
    typer.echo(f"folder: {run.path}\nnext: recbench leaderboard build", err=True)


def sync(root: RootOption = None) -> None:
    """Bring all runs, also failed ones, to MLflow; what is there already is left alone."""
    from recbench.cli.report import all_bundles
    from recbench.sync import sync as bring

    place = find_root(root)
    if place.mlflow_uri is None:
        raise UsageError("the store is turned off", mend="set mlflow in recbench.toml, or RECBENCH_MLFLOW")
    bundles = all_bundles(place)
    count = bring(bundles, place)
    typer.echo(f"{count} of {len(bundles)} runs were new to {place.mlflow_uri}")
