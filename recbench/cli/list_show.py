"""Commands that say what there is: list and show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recbench.cli._options import JsonOption, RootOption, find_root
from recbench.cli._output import echo
from recbench.errors import DataError, RecbenchError, unknown_name

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.planning.description import Description
    from recbench.results.bundle import Bundle

Rows = list[dict[str, Any]]


def list_names(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="methods, datasets, backbones, ...")],
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """List methods, datasets, backbones, protocols or runs."""
    from recbench.cli._output import print_json, print_table

    if what not in LISTS:
        raise unknown_name("list", what, LISTS, fix="recbench list methods")
    rows = LISTS[what](find_root(root))
    if json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        echo(f"no {what} here", err=True)


def _methods(root: Root) -> Rows:
    from recbench.planning import registry
    from recbench.planning.description import describe

    rows: Rows = []
    for name in registry.available():
        try:
            plugin = describe(name, root.path)
        except RecbenchError as error:
            about = f"{error.why}; try: {error.fix}" if error.fix else error.why
            rows.append(
                {
                    "name": name,
                    "kind": "unusable",
                    "version": None,
                    "from": None,
                    "needs": None,
                    "about": about,
                }
            )
            continue
        traits = plugin.traits
        rows.append(
            {
                "name": name,
                "kind": traits.kind,
                "version": traits.version,
                "from": plugin.distribution,
                "needs": _needs(plugin),
                "about": plugin.about.partition("\n")[0],
            }
        )
    return rows


def _needs(plugin: Description) -> str | None:
    """The line that installs what the method requires; None where all is here."""
    from recbench.planning.description import check_requirements
    from recbench.planning.registry import UnusableMethodError

    try:
        check_requirements(plugin)
    except UnusableMethodError as error:
        return error.fix
    return None


def _datasets(root: Root) -> Rows:
    from recbench.dataset import card

    rows: Rows = []
    for name in sorted(card.available(root.path)):
        try:
            found = card.find(name, root.path)
        except DataError as error:  # the other sets are listed all the same
            rows.append(
                {"name": name, "title": error.what} | dict.fromkeys(("users", "items", "interactions"))
            )
            continue
        size = found.expect
        rows.append(
            {
                "name": name,
                "title": found.title,
                "users": size and size.users,
                "items": size and size.items,
                "interactions": size and size.interactions,
            }
        )
    return rows


def _backbones(_root: Root) -> Rows:
    from recbench.settings import BACKBONES, backbone_class

    rows = [{"name": name, "class": backbone_class(name), "model": what} for name, what in BACKBONES.items()]
    anything = {
        "name": "ID, FOLDER or FILE.gguf",
        "class": "pretrained",
        "model": "a Hugging Face id, a local folder, a GGUF file",
    }
    return [*rows, anything]


def _protocols(_root: Root) -> Rows:
    from recbench.protocol import PROTOCOLS

    return [
        {
            "name": protocol.name,
            "version": protocol.version,
            "split": protocol.split,
            "history": protocol.history,
            "candidates": protocol.candidates
            if protocol.list_length is None
            else f"{protocol.list_length} of a list",
            "seen items": "masked" if protocol.exclude_seen else "kept",
            "cutoffs": " ".join(map(str, protocol.cutoffs)),
        }
        for protocol in PROTOCOLS.values()
    ]


def _runs(root: Root) -> Rows:
    from recbench.cli._runs import all_bundles

    return [
        {
            "run": run.id,
            "fit": run.spec.fit.id,
            "method": run.label,
            "dataset": run.spec.fit.dataset,
            "protocol": run.spec.protocol["name"],
            "phase": run.spec.phase,
            "seed": run.seed,
            "status": run.status if run.reason is None else f"failed ({run.reason['class']})",
            "ndcg@10": run.metrics.get("ndcg@10"),
        }
        for run in all_bundles(root)
    ]


LISTS: dict[str, Callable[[Root], Rows]] = {
    "methods": _methods,
    "datasets": _datasets,
    "backbones": _backbones,
    "protocols": _protocols,
    "runs": _runs,
}


def show(
    name: Annotated[str, typer.Argument(metavar="NAME|RUN", help="A method, dataset, protocol or run.")],
    checklist: Annotated[
        bool, typer.Option("--checklist", help="Of a run: what it takes to reproduce its method, all seeds.")
    ] = False,
    form: Annotated[
        Literal["table", "markdown", "latex"], typer.Option("--form", help="How --checklist is printed.")
    ] = "table",
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Show all that is known of a method, a dataset, a protocol or a run."""
    from recbench.cli._dataset import shown
    from recbench.cli._output import flat, print_json, print_table
    from recbench.dataset import card
    from recbench.planning import registry
    from recbench.protocol import PROTOCOLS
    from recbench.results.lookup import find_run, is_run

    place = find_root(root)
    if checklist:
        _show_checklist(place, name, form, as_json=json)
        return
    lines: list[tuple[str, object]] = []
    if name in registry.available():
        record = _method_record(name, place)
    elif name in card.available(place.path):
        record, lines = shown(name, place)
    elif name in PROTOCOLS:
        record = {"name": name, **PROTOCOLS[name].split_part(), **PROTOCOLS[name].evaluation_part()}
    elif is_run(place.runs, name):
        record = _run_details(find_run(place.runs, name))
    else:
        known = [*registry.available(), *card.available(place.path), *PROTOCOLS]
        raise unknown_name("method, dataset, protocol or run", name, known, fix="recbench list runs")
    if json:
        print_json(record)
    else:
        print_table(("key", "value"), lines or flat(record))


def _show_checklist(root: Root, name: str, form: str, *, as_json: bool) -> None:
    """Of the run's method with all its seeds that finished."""
    from recbench.board.checklist import forms
    from recbench.board.checklist.entries import checklist, to_json
    from recbench.cli._output import print_json, print_table
    from recbench.cli._runs import finished_bundles
    from recbench.comparison.block import block_of
    from recbench.comparison.compare import by_seed, method_key
    from recbench.planning.tuning import trials_of
    from recbench.results.lookup import find_run

    run = find_run(root.runs, name)
    same = [
        other
        for other in finished_bundles(root)
        if method_key(other) == method_key(run) and block_of(other) == block_of(run)
    ]
    entries = checklist(by_seed(same) or [run], _tuning_text(trials_of(root, run)))
    title = f"{run.label} on {run.spec.fit.dataset}"
    if as_json:
        print_json({"method": run.label, "dataset": run.spec.fit.dataset, "checklist": to_json(entries)})
    elif form == "table":
        rows = [(entry.topic, entry.variable, entry.value) for entry in entries]
        print_table(("topic", "variable", "value"), rows, title=title)
    else:
        echo((forms.latex if form == "latex" else forms.markdown)(entries, title), nl=False)


def _tuning_text(trials: Sequence[Mapping[str, Any]]) -> str:
    from recbench.planning.tuning import METRIC, best

    if not trials:
        return "no trial of recbench tune is recorded in this root"
    chosen = best(trials)
    found = "" if chosen is None else f"; best: {chosen['asked']}"
    return f"{len(trials)} trials on validation items by {METRIC.upper()}{found}"


def _method_record(name: str, root: Root) -> dict[str, Any]:
    from dataclasses import fields

    from recbench.planning.description import describe

    plugin = describe(name, root.path)
    return {
        "name": name,
        "about": plugin.about,
        "from": plugin.distribution,
        **{trait.name: getattr(plugin.traits, trait.name) for trait in fields(plugin.traits)},
        "parameters": plugin.parameters,
    }


def _run_details(run: Bundle) -> dict[str, Any]:
    from recbench.cli._runs import run_record

    record = run.manifest.to_json()
    known = ("digests", "versions", "code", "method_code", "hardware", "timings")
    manifest = {key: record[key] for key in known if key in record}
    return {**run_record(run), "spec": run.spec.to_json(), **manifest}
