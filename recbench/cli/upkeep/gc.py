"""`recbench gc`: gives back the disk that nothing finished needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.cli._options import JsonOption, RootOption, find_root
from recbench.cli._output import echo

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.running.cleanup import Removable


def gc(
    unused: Annotated[
        bool, typer.Option("--all", help="Also what no run was made from, and replays.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go.")] = False,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Remove what interrupted commands left and the checkpoints of finished fits; runs never go."""
    from recbench.base.words import size_text
    from recbench.cli._output import print_json, print_table
    from recbench.running.cleanup import removable

    place = find_root(root)
    found = removable(place, unused=unused)
    records = [_record(leftover, place, _fate(leftover, dry_run)) for leftover in found]
    total = sum(record["bytes"] for record in records if record["fate"] in ("removed", "would go"))
    if json:
        print_json({"root": str(place.path), "bytes": total, "found": records})
    else:
        if records:
            columns = ("path", "what", "size", "")
            print_table(
                columns,
                [
                    (record["path"], record["kind"], size_text(record["bytes"]), record["fate"])
                    for record in records
                ],
            )
        echo(f"{'would free' if dry_run else 'freed'} {size_text(total)} for the root {place.path}")
    if any(record["fate"].startswith("cannot") for record in records):
        raise typer.Exit(1)


def _fate(leftover: Removable, dry_run: bool) -> str:
    from recbench.running.cleanup import remove

    if leftover.in_use:
        return "stays: may be in use"
    if dry_run:
        return "would go"
    try:
        remove(leftover)
    except OSError as error:
        return f"cannot be removed: {error.strerror}"
    return "removed"


def _record(leftover: Removable, place: Root, fate: str) -> dict[str, Any]:
    path = leftover.path
    if path.is_relative_to(place.path):
        path = path.relative_to(place.path)
    return {"path": path.as_posix(), "kind": leftover.kind, "bytes": leftover.num_bytes, "fate": fate}
