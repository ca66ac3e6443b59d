"""Commands about datasets: prepare, verify, stats, import, export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.base.words import shown
from recbench.cli._options import JsonOption, OfflineOption, RootOption, find_root
from recbench.cli._output import echo
from recbench.cli.reference import completion
from recbench.cli.reference.help import Grouped

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.dataset.split import PreparedSplit

data = typer.Typer(
    help="Prepare, verify, describe, import and export datasets.",
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=None,
)

NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME",
        help="Datasets.",
        autocompletion=completion.datasets,
    ),
]
ProtocolOption = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="Evaluation protocol. [ilrec]",
        autocompletion=completion.protocols,
    ),
]


@data.callback()
def _data() -> None:
    """Prepare, verify, describe, import and export datasets."""


@data.command("prepare")
def prepare(
    name: NamesArgument,
    protocol: ProtocolOption = None,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Read the raw files of datasets and make the split, or find it where it is made already."""
    from recbench.dataset.prepare import prepare as make

    place = find_root(root)
    _print([_split(make, text, protocol, place, offline=offline) for text in name], as_json=json)


@data.command("verify")
def verify(
    name: NamesArgument,
    protocol: ProtocolOption = None,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Make the split again from the raw files and check every prepared file; exit 4 where one differs."""
    from recbench.dataset.prepare import verify as check

    place = find_root(root)
    splits = [_split(check, text, protocol, place, offline=offline) for text in name]
    _print(splits, as_json=json)
    for split in splits:
        echo(
            f"{split.dataset}: as the card says and as it was made, split {split.digests['split'][:12]}",
            err=True,
        )


@data.command("stats")
def stats(
    name: NamesArgument,
    protocol: ProtocolOption = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page instead.", show_default=False)
    ] = None,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Show the distributions of datasets, and how many targets a tie of timestamps decides."""
    from io import StringIO

    from rich.console import Console

    from recbench.cli._output import console, print_json
    from recbench.cli.reference.dataset import histogram, split_record, ties
    from recbench.dataset.prepare import prepare as make
    from recbench.errors import MissingError

    place = find_root(root)
    splits = [_split(make, text, protocol, place, offline=offline) for text in name]
    if json:
        print_json([{**split_record(split), "distributions": dict(split.distributions)} for split in splits])
        return
    out = console() if html is None else Console(record=True, file=StringIO(), width=100, highlight=False)
    for split in splits:
        out.print(shown(f"{split.title} ({split.dataset})"), style="bold", markup=False)
        out.print(ties(split.statistics), markup=False)
        for what, bins in split.distributions.items():
            out.print(histogram(what, bins))
    if html is not None:
        try:
            out.save_html(str(html))
        except OSError as error:
            raise MissingError(f"{html} cannot be written", why=str(error)) from None
        echo(f"wrote {html}", err=True)


@data.command("import")
def import_(
    interactions: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet, or RecBole's .inter.")],
    items: Annotated[
        Path | None,
        typer.Argument(help="Titles; beside a .inter file its .item is found.", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the new dataset.")] = "",
    title: Annotated[str, typer.Option("--set-title", help="What the set is called. [its name]")] = "",
    noun: Annotated[str, typer.Option("--noun", help="What an item is called: film, game, song.")] = "item",
    core: Annotated[int, typer.Option("--core", min=0, help="k of the iterative k-core.")] = 0,
    user: Annotated[
        str | None, typer.Option("--user", help="Column of users. [user_id, user, uid, ...]")
    ] = None,
    item: Annotated[
        str | None, typer.Option("--item", help="Column of items, in both files. [item_id, item, asin, ...]")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="Column of Unix times or dates. [timestamp or time]")
    ] = None,
    title_column: Annotated[
        str | None, typer.Option("--title", help="Column of titles. [title or name]")
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option("--categories", help="Column of categories. [categories, category, genres or class]"),
    ] = None,
    time_unit: Annotated[
        str, typer.Option("--time-unit", help="Of times that are numbers: s, ms, us or ns.")
    ] = "s",
    ordered: Annotated[bool, typer.Option("--ordered", help="No times: rows are in their order.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a set of that name.")] = False,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Make a dataset of your own files: normalised files, a card, statistics and warnings."""
    from recbench.cli._output import listening
    from recbench.dataset import card, user_import, user_tables
    from recbench.dataset.prepare import prepare as make
    from recbench.errors import UsageError, unknown_name
    from recbench.planning import registry
    from recbench.protocol import PROTOCOLS

    place = find_root(root)
    if not name:
        raise UsageError(
            "the new dataset has no name", fix=f"recbench data import {interactions} --name NAME"
        )
    if name in registry.available() or name in PROTOCOLS:
        raise UsageError(f"'{name}' is the name of a method or of a protocol", fix="another --name")
    if name in card.available(None):
        raise UsageError(f"'{name}' is a dataset that comes with recbench", fix="another --name")
    if name in card.available(place.path) and not force:
        raise UsageError(
            f"there is a dataset '{name}' already", fix="another --name, or --force to replace it"
        )
    if time_unit not in user_tables.TICKS:
        raise unknown_name("unit of time", time_unit, user_tables.TICKS, fix="--time-unit ms")
    if items is None and ".inter" in interactions.suffixes:
        beside = interactions.with_name(interactions.name.replace(".inter", ".item"))
        items = beside if beside.is_file() else None
    columns = user_tables.Columns(
        user=user,
        item=item,
        time=time,
        title=title_column,
        categories=categories,
        time_unit=time_unit,
        ordered=ordered,
    )
    with listening() as listener:
        raw = user_tables.read(interactions, items, columns, report=listener)
    with user_import.published(
        raw,
        name=name,
        title=title or name,
        noun=noun,
        core=core,
        origin=[interactions] if items is None else [interactions, items],
        data=place.data_dir or place.path / "data",
        root=place.path,
        force=force,
    ) as written:
        split = _split(make, name, "ilrec", find_root(root), offline=True)
    _print([split], as_json=json)
    for warning in user_import.warnings(split.statistics, repeated_items=raw.counts["repeated_items"]):
        echo(f"warning: {warning}", err=True)
    echo(
        f"wrote {written}; fill in its citation and terms\nnext: recbench run -m popularity -d {name}",
        err=True,
    )


@data.command("export")
def export(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Dataset.",
            autocompletion=completion.datasets,
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder to make.")],
    form: Annotated[str, typer.Option("--form", help="jsonl, or atomic for RecBole.")] = "jsonl",
    protocol: ProtocolOption = None,
    root: RootOption = None,
    offline: OfflineOption = False,
) -> None:
    """Write a split without its test targets, so that code outside recbench trains on the very same."""
    from recbench.dataset.export import FORMS
    from recbench.dataset.export import export as write
    from recbench.dataset.prepare import prepare as make
    from recbench.errors import unknown_name
    from recbench.protocol import get_protocol

    if form not in FORMS:
        raise unknown_name("form", form, FORMS, fix="--form jsonl")
    place = find_root(root)
    split = _split(make, name, protocol, place, offline=offline)
    rules = get_protocol(place.setting("protocol", protocol) or "")
    write(split, to, form=form, protocol=rules)
    echo(
        f"wrote {to}/: {split.statistics.requests['test']:,} users ask for their best {rules.depth}\n"
        f"next: recbench import-ranking RANKING.jsonl --name NAME -d {name} "
        f"--protocol {rules.name} --split {to}/split.json",
        err=True,
    )


def _split(make: Any, name: str, protocol: str | None, place: Root, *, offline: bool) -> PreparedSplit:
    """What `make` (of recbench.prepare) gives for a dataset."""
    from recbench.cli._output import listening
    from recbench.dataset import card
    from recbench.protocol import get_protocol

    rules = get_protocol(place.setting("protocol", protocol) or "")
    found = card.find(name, place.path)
    with listening() as listener:
        split: PreparedSplit = make(
            found,
            rules,
            cache=place.cache,
            data_dir=place.data_dir,
            offline=offline or place.offline,
            report=listener,
        )
    return split


def _print(splits: Sequence[PreparedSplit], *, as_json: bool) -> None:
    from recbench.cli._output import print_json, print_table
    from recbench.cli.reference.dataset import side_by_side, split_record

    if as_json:
        print_json([split_record(split) for split in splits])
    else:
        print_table(*side_by_side(splits))
