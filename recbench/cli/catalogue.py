"""Commands that say what there is: list, show, data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.cli.options import JsonOption, OfflineOption, RootOption, find_root
from recbench.errors import RecbenchError, unknown_name

if TYPE_CHECKING:
    from recbench.root import Root

data = typer.Typer(help="Prepare and verify data sets.", no_args_is_help=True, rich_markup_mode=None)

Rows = list[dict[str, Any]]


@data.callback()
def _data() -> None:
    """Prepare and verify data sets."""


def list_names(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="methods, datasets, backbones, ...")],
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """List methods, datasets, backbones, protocols or runs."""
    from recbench.cli.output import print_json, print_table

    if what not in LISTS:
        raise unknown_name("list", what, LISTS, mend="recbench list methods")
    rows = LISTS[what](find_root(root))
    if json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        typer.echo(f"no {what} here", err=True)


def _methods(_root: Root) -> Rows:
    from recbench import registry

    rows: Rows = []
    for name in registry.available():
        try:
            plugin = registry.load(name)
        except RecbenchError as error:
            rows.append({"name": name, "kind": "broken", "version": None, "from": None, "about": error.why})
            continue
        traits = plugin.traits
        rows.append(
            {
                "name": name,
                "kind": traits.kind,
                "version": traits.version,
                "from": plugin.distribution,
                "about": _first_line(plugin.cls),
            }
        )
    return rows


def _datasets(root: Root) -> Rows:
    from recbench import card

    rows = []
    for name in sorted(card.available(root.path)):
        one = card.find(name, root.path)
        size = one.expect
        rows.append(
            {
                "name": name,
                "title": one.title,
                "users": size and size.users,
                "items": size and size.items,
                "interactions": size and size.interactions,
            }
        )
    return rows


def _backbones(_root: Root) -> Rows:
    from recbench.settings import BACKBONES, backbone_class

    rows = [{"name": name, "class": backbone_class(name), "model": what} for name, what in BACKBONES.items()]
    anything = {"name": "ID or FOLDER", "class": "pretrained", "model": "a Hugging Face id, a local folder"}
    return [*rows, anything]


def _protocols(_root: Root) -> Rows:
    from recbench.protocol import PROTOCOLS

    return [
        {
            "name": one.name,
            "version": one.version,
            "split": one.split,
            "history": one.history,
            "candidates": one.candidates,
            "seen items": "masked" if one.exclude_seen else "kept",
            "cutoffs": " ".join(map(str, one.cutoffs)),
        }
        for one in PROTOCOLS.values()
    ]


def _runs(root: Root) -> Rows:
    from recbench.cli.report import all_bundles

    return [
        {
            "run": one.id,
            "fit": one.spec.fit.id,
            "method": one.label,
            "dataset": one.spec.fit.dataset,
            "protocol": one.spec.protocol["name"],
            "phase": one.spec.phase,
            "seed": one.seed,
            "status": one.status if one.reason is None else f"failed ({one.reason['class']})",
            "ndcg@10": one.metrics.get("ndcg@10"),
        }
        for one in all_bundles(root)
    ]


LISTS: dict[str, Callable[[Root], Rows]] = {
    "methods": _methods,
    "datasets": _datasets,
    "backbones": _backbones,
    "protocols": _protocols,
    "runs": _runs,
}


def show(
    name: Annotated[str, typer.Argument(metavar="NAME|RUN", help="A method, data set, protocol or run.")],
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Show all that is known of a method, a data set, a protocol or a run."""
    from recbench import card, registry
    from recbench.cli.output import print_json, print_table
    from recbench.cli.report import find_run, is_run
    from recbench.protocol import PROTOCOLS

    place = find_root(root)
    if name in registry.available():
        record = _method_record(name)
    elif name in card.available(place.path):
        record = _card_record(name, place)
    elif name in PROTOCOLS:
        record = {"name": name, **PROTOCOLS[name].split_part(), **PROTOCOLS[name].evaluation_part()}
    elif is_run(place, name):
        record = _run_details(find_run(place, name).id, place)
    else:
        known = [*registry.available(), *card.available(place.path), *PROTOCOLS]
        raise unknown_name("method, data set, protocol or run", name, known, mend="recbench list runs")
    if json:
        print_json(record)
    else:
        print_table(("key", "value"), _flat(record))


def _method_record(name: str) -> dict[str, Any]:
    import dataclasses
    import inspect

    from recbench import registry

    plugin = registry.load(name)
    parameters: dict[str, Any] = {}
    for field in dataclasses.fields(plugin.cls):
        if field.init and field.default_factory is not dataclasses.MISSING:
            parameters[field.name] = field.default_factory()
        elif field.init:
            parameters[field.name] = "required" if field.default is dataclasses.MISSING else field.default
    return {
        "name": name,
        "about": inspect.getdoc(plugin.cls) or "",
        "from": plugin.distribution,
        **dataclasses.asdict(plugin.traits),
        "parameters": parameters,
    }


def _card_record(name: str, place: Root) -> dict[str, Any]:
    import dataclasses

    from recbench import card

    return dataclasses.asdict(card.find(name, place.path))


def _run_details(run_id: str, place: Root) -> dict[str, Any]:
    from recbench.cli.report import find_run, run_record

    one = find_run(place, run_id)
    manifest = {key: one.manifest.get(key) for key in ("digests", "versions", "code", "hardware", "timings")}
    return {**run_record(one), "spec": one.spec.to_json(), **manifest}


@data.command("prepare")
def prepare(
    name: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets.")],
    protocol: Annotated[str | None, typer.Option(help="Evaluation protocol. [ilrec]")] = None,
    root: RootOption = None,
    offline: OfflineOption = False,
    json: JsonOption = False,
) -> None:
    """Read the raw files of data sets and make the split, or find it where it is made already."""
    from recbench.cli.output import print_json, print_table

    records = [
        {"name": one.dataset, "folder": str(one.folder), "digests": dict(one.digests), **one.statistics}
        for one in _prepared(name, protocol, find_root(root), offline=offline)
    ]
    if json:
        print_json(records)
        return
    for record in records:
        print_table(("key", "value"), _flat(record), title=record["name"])


@data.command("verify")
def verify(
    name: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets.")],
    protocol: Annotated[str | None, typer.Option(help="Evaluation protocol. [ilrec]")] = None,
    root: RootOption = None,
    offline: OfflineOption = False,
) -> None:
    """Check every prepared file against its recorded sha256; exit 4 where one has changed."""
    from recbench import split
    from recbench.spec import Phase

    phases: tuple[Phase, ...] = ("valid", "test")
    for one in _prepared(name, protocol, find_root(root), offline=offline):
        split.load_training(one.folder)
        split.load_users(one.folder)
        for phase in phases:
            split.load_requests(one.folder, phase, exclude_seen=False)
            split.load_targets(one.folder, phase)
        typer.echo(f"{one.dataset}: all files are as they were made, split {one.digests['split'][:12]}")


def _prepared(names: Sequence[str], protocol: str | None, place: Root, *, offline: bool) -> list[Any]:
    from recbench import card
    from recbench.cli.progress import listening
    from recbench.prepare import prepare as make
    from recbench.protocol import get_protocol

    rules = get_protocol(place.setting("protocol", protocol) or "")
    cards = [card.find(name, place.path) for name in names]
    with listening() as listener:
        return [
            make(
                one,
                rules,
                cache=place.cache,
                data_dir=place.data_dir,
                offline=offline or place.offline,
                report=listener,
            )
            for one in cards
        ]


def _first_line(cls: type[Any]) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """A record in rows for people: nested keys with dots, lists a line each, empty values left out."""
    rows: list[tuple[str, object]] = []
    for key, value in record.items():
        parts = list(value) if isinstance(value, (list, tuple)) else []
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif parts and isinstance(parts[0], dict):
            for number, part in enumerate(parts, start=1):
                rows += _flat(part, f"{prefix}{key}.{number}.")
        elif parts:
            rows.append((f"{prefix}{key}", "\n".join(str(part) for part in parts)))
        elif value not in ("", None, [], ()):
            rows.append((f"{prefix}{key}", value))
    return rows
