"""Find finished runs under a root's `runs/` folder: all of them, or the one that a user names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recbench.base.digest import is_short
from recbench.errors import DigestError, MissingError, UsageError, unknown_name
from recbench.results import bundle
from recbench.results.bundle import Bundle

FIRST_RUN = "recbench run -m popularity -d ml-100k"
SHORTEST = 4
"""The digits that the beginning of an id needs, so that it cannot be taken for a method."""


def every_run(runs: Path, left_out: Callable[[str], None]) -> list[Bundle]:
    """Every run, complete or failed. A run that has changed since it was sealed is reported to `left_out`."""
    bundles = []
    for folder in bundle.find(runs):
        try:
            run = bundle.load(folder)
        except DigestError as error:
            left_out(f"run {folder.name} is left out: {error.what} ({error.why})")
            continue
        if run.id == folder.name:
            bundles.append(run)
        else:
            left_out(f"run {folder.name} is left out: {folder} is a copy of the run {run.id}")
    return bundles


def is_run(runs: Path, text: str) -> bool:
    """Whether the id of a run begins with `text`."""
    return bool(_matches(runs, text))


def find_run(runs: Path, text: str) -> Bundle:
    """The run whose id begins with `text`. UsageError where several do; for a method it names its runs."""
    if not bundle.find(runs):
        raise MissingError(f"there are no runs under {runs}", fix=FIRST_RUN)
    matches = _matches(runs, text)
    if len(matches) > 1:
        names = ", ".join(folder.name for folder in matches)
        raise UsageError(f"'{text}' begins several run ids", why=names)
    if not matches:
        named = [run.id for run in every_run(runs, lambda _: None) if run.label == text]
        if named:
            raise UsageError(
                f"no run '{text}'",
                why=f"a method of that name has these runs: {', '.join(named)}",
                fix="recbench list runs",
            )
        ids = [folder.name for folder in bundle.find(runs)]
        raise unknown_name("run", text, ids, fix="recbench list runs")
    return bundle.load(matches[0])


def _matches(runs: Path, text: str) -> list[Path]:
    """The folders of the runs that `text` names: its whole id, else the ids that begin with it.

    A folder whose name is no id, as of a copy, is named by its whole name alone.
    """
    folders = bundle.find(runs)
    exact = [folder for folder in folders if folder.name == text]
    if exact or len(text) < SHORTEST:
        return exact
    return [folder for folder in folders if folder.name.startswith(text) and is_short(folder.name)]
