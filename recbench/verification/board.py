"""Verify a board: what its records give, each run behind it, and the mark that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from recbench.base import digest, environment
from recbench.base.root import Root
from recbench.board import folder as boards
from recbench.board.exposure.of_runs import kept, problems
from recbench.board.model import MeanWithLimits
from recbench.errors import DigestError
from recbench.results import bundle
from recbench.results.bundle import MANIFEST, Bundle
from recbench.verification import run as runs
from recbench.verification.splits import Splits
from recbench.verification.verdict import Verdict


def verify(folder: Path, root: Root, splits: Splits, *, users: int = runs.USERS) -> list[Verdict]:
    """What can be checked of every run of the board. The board is marked as verified where all are sound; a
    mark that no longer holds is taken away.

    CheckError where the board is not what its records give.
    """
    board = boards.check(folder)
    recorded, verdicts = kept(board), []
    for record in boards.read(folder):
        run = _whole(record, board.records[record.id], root)
        verdict = runs.verify(run, root, splits, users=users)
        _check_exposure(run, recorded.get(run.id, {}), splits, verdict)
        verdicts.append(verdict)
    lines = summary(verdicts) if all(verdict.is_sound for verdict in verdicts) else []
    if list(board.verified) != lines:
        boards.mark(folder, board, lines)
    return verdicts


def _check_exposure(
    run: Bundle, recorded: Mapping[str, MeanWithLimits], splits: Splits, verdict: Verdict
) -> None:
    prepared = splits.of(run).split if recorded else None
    if prepared is not None:
        verdict.note("exposure from lists and histories", problems(run, recorded, prepared))
    elif recorded:
        verdict.unchecked.append("exposure: the split is not here")


def _whole(record: Bundle, manifest: str, root: Root) -> Bundle:
    """The bundle with all files where the root still has this very run, else the record."""
    path = root.runs / record.id
    if bundle.status(path) is None or digest.of_file(path / MANIFEST) != manifest:
        return record
    try:
        return bundle.load(path)
    except DigestError:
        return record


def summary(verdicts: Sequence[Verdict]) -> list[str]:
    """What was checked, and of how many runs, for the board to say."""
    total = len(verdicts)
    checked = Counter(what for verdict in verdicts for what in verdict.checked)
    left = Counter(what for verdict in verdicts for what in verdict.unchecked)
    return [
        f"recbench {environment.own_version()} verified {total} runs",
        *(f"checked: {what} ({count} of {total} runs)" for what, count in checked.items()),
        *(f"not checked: {what} ({count} of {total} runs)" for what, count in left.items()),
    ]
