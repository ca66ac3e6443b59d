"""Whether a finished run, or a fit, may be used again: only where the same code made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from recbench.base.files import parse_json
from recbench.base.root import Root
from recbench.errors import DigestError
from recbench.planning.plan import Planned
from recbench.results import bundle
from recbench.results.method_code import MethodCode

MOST_NAMED = 3
OTHER_CODE: Final = "other code"
"""The state of a finished run that other code made."""
AGAIN = "--force makes these runs again; a raised `version` in the method's class keeps both"


def check_finished(planned: Sequence[Planned], root: Root, say: Callable[[str], None]) -> None:
    """DigestError where the finished run of a planned one was made by other code, before anything runs.

    A run that has no record of its code, because an earlier version made it, is used; `say` tells how many.
    """
    others, silent = [], 0
    for run in planned:
        folder = root.runs / run.spec.id
        if bundle.status(folder) != "complete":
            continue
        made = _code_of_run(folder)
        if made is None:
            silent += 1
        elif not made.is_that_of(run.code):
            others.append((run, made))
    if silent:
        say(f"{silent} finished runs do not say which code made them; they are used as they are")
    if not others:
        return
    run, made = others[0]
    names = ", ".join(f"{other.spec.id} ({other.name})" for other, _ in others[:MOST_NAMED])
    more = len(others) - MOST_NAMED
    raise DigestError(
        f"made by other code than is here now: {names}{f' and {more} more' if more > 0 else ''}",
        why=f"{run.spec.id} by {made}; here is {run.code}",
        fix=AGAIN,
    )


def is_of_other_code(run_id: str, code: MethodCode, root: Root) -> bool:
    """Whether a finished run was made by other code than `code`: only --force makes it again."""
    folder = root.runs / run_id
    made = _code_of_run(folder) if bundle.status(folder) == "complete" else None
    return made is not None and not made.is_that_of(code)


def _code_of_run(folder: Path) -> MethodCode | None:
    """None too where the manifest cannot be read: whoever loads the bundle says so."""
    try:
        record = parse_json((folder / bundle.MANIFEST).read_bytes()).get("method_code")
        return None if record is None else MethodCode.from_json(record)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
