"""`recbench gc`: gives back the disk that nothing finished needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.cli._options import JsonOption, RootOption, find_root

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.running.cleanup import Removable


def gc(
    unused: Annotated[
        bool, typer.Option("--all", help="Also fits, splits and stages that no run was made from.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go.")] = False,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Remove what interrupted commands left and the checkpoints of finished fits; runs never go."""
    from recbench.base.sizes import size_text
    from recbench.cli._output import print_json, print_table
    from recbench.running.cleanup import removable

    place = find_root(root)
    found = removable(place, unused=unused)
    records = [_record(one, place, _fate(one, dry_run)) for one in found]
    total = sum(one["bytes"] for one in records if one["fate"] in ("removed", "would go"))
    if json:
        print_json({"root": str(place.path), "bytes": total, "found": records})
    else:
        if records:
            columns = ("path", "what", "size", "")
            print_table(
                columns, [(one["path"], one["kind"], size_text(one["bytes"]), one["fate"]) for one in records]
            )
        typer.echo(f"{'would free' if dry_run else 'freed'} {size_text(total)} under {place.path}")
    if any(one["fate"].startswith("cannot") for one in records):
        raise typer.Exit(1)


def _fate(one: Removable, dry_run: bool) -> str:
    from recbench.running.cleanup import remove

    if one.in_use:
        return "stays: may be in use"
    if dry_run:
        return "would go"
    try:
        remove(one)
    except OSError as error:
        return f"cannot be removed: {error.strerror}"
    return "removed"


def _record(one: Removable, place: Root, fate: str) -> dict[str, Any]:
    path = one.path.relative_to(place.path).as_posix()
    return {"path": path, "kind": one.kind, "bytes": one.num_bytes, "fate": fate}
