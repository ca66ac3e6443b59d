"""Commands that say what there is: list and show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recbench.cli._options import JsonOption, RootOption, find_root
from recbench.cli._output import echo
from recbench.cli.reference import completion
from recbench.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.cli.reference.dataset import Lines
    from recbench.results.bundle import Bundle

Rows = list[dict[str, Any]]

DISPENSABLE = ("fit", "protocol", "phase")
"""Columns of lists that a narrow screen leaves out."""


def list_names(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="methods, datasets, backbones, paradigms, protocols, rankers, samplers, identifiers, "
            "metrics, formats, settings or runs.",
            autocompletion=completion.lists,
        ),
    ],
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """List what there is of a kind: methods, datasets, ..., runs."""
    from recbench.cli._output import print_json, print_table
    from recbench.reference.names import LISTS

    tables: dict[str, Callable[[Root], Rows]] = {**LISTS, "runs": _runs}
    if what not in tables:
        raise unknown_name("list", what, tables, fix="recbench list methods")
    rows = tables[what](find_root(root))
    if json:
        print_json(rows)
    elif rows:
        cells = [[_plain(cell) for cell in row.values()] for row in rows]
        print_table(list(rows[0]), cells, dispensable=DISPENSABLE)
    else:
        echo(f"no {what} here", err=True)


def _plain(cell: object) -> object:
    """A list as a text, a number in its shortest form; all else as it is."""
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return ", ".join(map(str, cell)) if isinstance(cell, list | tuple) else cell


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


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|RUN",
            help="A method, dataset, backbone, paradigm, protocol, ranker, sampler, identifier, metric, "
            "format, setting or run.",
            autocompletion=completion.names,
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="Only the thing of this kind, where a name has several meanings."),
    ] = None,
    checklist: Annotated[
        bool, typer.Option("--checklist", help="Of a run: what it takes to reproduce its method, all seeds.")
    ] = False,
    form: Annotated[
        Literal["table", "markdown", "latex"], typer.Option("--form", help="How --checklist is printed.")
    ] = "table",
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Show all that is known of a thing that has a name: ilrec, train.lr, exact, ndcg@10, a run."""
    from recbench.cli._output import console, flat, print_json, print_pairs
    from recbench.cli.reference.entry import text_of
    from recbench.reference import names

    place = find_root(root)
    if checklist:
        _show_checklist(place, name, form, as_json=json)
        return
    if kind is not None and kind not in names.KINDS:
        raise unknown_name("kind", kind, names.KINDS, fix=f"recbench show {name} --kind method")
    records: list[dict[str, Any]] = []
    shown: list[str | Lines] = []
    for one in [kind] if kind else names.KINDS:
        if one in ("dataset", "run"):
            record, lines = _dataset_or_run(one, name, place)
            records += [record] if record else []
            shown += [lines or flat(record)] if record else []
        else:
            found = names.entries(name, one, place)
            records += [entry.to_json() for entry in found]
            shown += [text_of(entry, console().width) for entry in found]
    if not records:
        raise _nothing(name, kind, names.KINDS[kind](place) if kind else names.known(place))
    if json:
        print_json(records[0] if len(records) == 1 else records)
        return
    for number, part in enumerate(shown):
        if number:
            echo("")
        if isinstance(part, str):
            echo(part)
        else:
            print_pairs(part)


def _show_checklist(root: Root, name: str, form: str, *, as_json: bool) -> None:
    """Of the run's method with all its seeds that finished."""
    from recbench.api.sides import finished
    from recbench.board.checklist import forms
    from recbench.board.checklist.entries import checklist, to_json
    from recbench.cli._output import print_json, print_table, warn
    from recbench.comparison.block import block_of
    from recbench.comparison.compare import by_seed
    from recbench.planning.tuning import budget_text, trials_of
    from recbench.results.lookup import find_run

    run = find_run(root.runs, name)
    same = [
        other
        for other in finished(root, warn)
        if other.spec.method_key == run.spec.method_key and block_of(other) == block_of(run)
    ]
    entries = checklist(by_seed(same) or [run], budget_text(trials_of(root, run)))
    title = f"{run.label} on {run.spec.fit.dataset}"
    if as_json:
        print_json({"method": run.label, "dataset": run.spec.fit.dataset, "checklist": to_json(entries)})
    elif form == "table":
        rows = [(entry.topic, entry.variable, entry.value) for entry in entries]
        print_table(("topic", "variable", "value"), rows, title=title)
    else:
        echo((forms.latex if form == "latex" else forms.markdown)(entries, title), nl=False)


def _nothing(name: str, kind: str | None, known: Sequence[str]) -> UsageError:
    """The error for a name that stands for nothing, with the nearest one that does."""
    from recbench.reference.names import KINDS

    found = unknown_name(kind or "method, dataset, ..., or run", name, known)
    if kind is None:
        found.why = f"looked among {', '.join(f'{one}s' for one in KINDS)}"
    found.fix = f"recbench list {kind or 'method'}s"
    return found


def _dataset_or_run(kind: str, name: str, place: Root) -> tuple[dict[str, Any], Lines]:
    """Its record, and lines for people where they are others; empty where the name is none of the kind."""
    from recbench.cli.reference.dataset import shown
    from recbench.dataset import card
    from recbench.results.lookup import find_run, is_run

    if kind == "dataset" and name in card.available(place.path):
        return shown(name, place)
    if kind == "run" and is_run(place.runs, name):
        return _run_details(find_run(place.runs, name)), []
    return {}, []


def _run_details(run: Bundle) -> dict[str, Any]:
    from recbench.cli._runs import run_record

    record = run.manifest.to_json()
    known = ("digests", "versions", "code", "method_code", "hardware", "facts", "timings")
    manifest = {key: record[key] for key in known if key in record}
    return {**run_record(run), "spec": run.spec.to_json(), **manifest}
