"""Write a submission below the root: what a pull request adds, and its text."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from recbench.base import files
from recbench.base.layout import SUBMISSIONS
from recbench.base.root import Root
from recbench.errors import UsageError
from recbench.planning.tuning import budget_text, trials_of
from recbench.submission.choice import Say
from recbench.submission.compose import Submission, compose
from recbench.submission.request_text import request_text

TEXT = "pull-request.md"


def submit(
    name: str, words: Sequence[str], root: Root, *, checkout: Path | None, users: int, say: Say
) -> tuple[Path, Submission]:
    """Write `submissions/NAME/` of the root, in the place of an earlier one; return it with what it holds.

    Errors as of `compose`, which leave an earlier one as it was; UsageError where another folder is there.
    """
    place = root.path / SUBMISSIONS / name
    if place.exists() and not (place / TEXT).is_file():
        raise UsageError(
            f"{place} is in the way", why=f"it is no earlier submission: it has no {TEXT}", fix="move it away"
        )
    place.parent.mkdir(exist_ok=True)
    with files.scratch(place.parent) as scratch:
        made = Path(scratch) / name
        found = compose(name, words, root, checkout=checkout, users=users, say=say, folder=made)
        budgets = {run.id: budget_text(trials_of(root, run)) for run in found.choice.runs}
        (made / TEXT).write_text(request_text(found, budgets), encoding="utf-8")
        if place.exists():
            shutil.rmtree(place)
        made.rename(place)
    return place, found
