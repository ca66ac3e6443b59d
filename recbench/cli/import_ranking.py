"""`recbench import-ranking`: a ranking made elsewhere becomes a run among the others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from recbench.cli._options import JsonOption, OfflineOption, RootOption, find_root
from recbench.cli._output import echo
from recbench.cli.reference import completion
from recbench.errors import MissingError, UsageError


def import_ranking(
    file: Annotated[Path, typer.Argument(help="JSON lines or CSV: user, ranked items.")],
    name: Annotated[str, typer.Option("--name", help="Name of its row on boards.")],
    dataset: Annotated[
        str,
        typer.Option(
            "-d",
            "--dataset",
            help="Dataset.",
            autocompletion=completion.datasets,
        ),
    ],
    protocol: Annotated[str | None, typer.Option("--protocol", help="Evaluation protocol. [ilrec]")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Which of several fits. [0]")] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Its method has one fit: no seed changes it.")
    ] = False,
    split: Annotated[
        Path | None,
        typer.Option("--split", help="split.json of the export. [the one beside FILE]", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a ranking of that name.")] = False,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Bring a ranking made elsewhere, of the users of `recbench data export`, beside the runs made here."""
    from recbench.cli._output import listening, print_json, print_table
    from recbench.cli._runs import headline, run_record
    from recbench.dataset import card
    from recbench.dataset.prepare import prepare
    from recbench.exchange.import_ranking import External
    from recbench.exchange.import_ranking import import_ranking as bring
    from recbench.exchange.sync import sync_pending
    from recbench.planning import registry
    from recbench.protocol import get_protocol

    place = find_root(root)
    if name in registry.available():
        raise UsageError(f"'{name}' is a method of recbench", fix=f"--name my-{name}")
    if not re.fullmatch(r"[\w.+-]+", name):
        raise UsageError(f"'{name}' cannot name a row", why="allowed: letters, digits and . + - _")
    if deterministic and seed is not None:
        raise UsageError(
            "--deterministic and --seed exclude each other",
            why="a method without chance has one fit for all seeds",
            fix="leave one of them out",
        )
    if file.is_dir():
        raise UsageError(f"{file} is a folder", why="a ranking is one file: JSON lines or CSV")
    if not file.is_file():
        raise MissingError(f"{file} is not there")
    if split is not None and not split.is_file():
        raise MissingError(f"{split} is not there", fix="recbench data export writes it beside test.jsonl")
    rules = get_protocol(place.setting("protocol", protocol) or "")
    place.check_writable()
    with listening() as listener:
        prepared = prepare(
            card.find(dataset, place.path),
            rules,
            cache=place.cache,
            data_dir=place.data_dir,
            offline=offline or place.offline,
            report=listener,
        )
        ranking = External(name=name, file=file, seed=None if deterministic else seed or 0, split=split)
        run = bring(ranking, prepared, rules, runs=place.runs, force=force, report=listener)
        sync_pending([run], place, listener.say)
    for note in run.manifest.ranking.notes if run.manifest.ranking else ():
        echo(f"warning: {name}: {note}", err=True)
    if json:
        print_json(run_record(run))
        return
    print_table(*headline([run]), title="metrics with 95 % intervals over users")
    echo(f"folder: {run.path}\nnext: recbench leaderboard build", err=True)
