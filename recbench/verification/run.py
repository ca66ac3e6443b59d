"""Verify a finished run: its seals, its numbers from lists and targets, and its lists from the weights."""

from __future__ import annotations

from recbench.base.root import Root
from recbench.board import recheck
from recbench.errors import DigestError
from recbench.results import top_lists
from recbench.results.bundle import Bundle
from recbench.results.measured import record
from recbench.verification import weights
from recbench.verification.splits import Splits
from recbench.verification.verdict import Verdict

USERS = 64
"""Users whose lists are made again from the weights."""


def verify(run: Bundle, root: Root, splits: Splits, *, users: int = USERS) -> Verdict:
    """What can be checked of a run, whose seals were checked when it was loaded. `users` 0: no weights."""
    verdict = Verdict(run=run.id, label=run.label, checked=["seals"])
    if run.status == "failed":
        verdict.unchecked.append("a failed run has no numbers")
        return verdict
    verdict.note("metrics from ranks", recheck.from_itself(run))
    _note_outside(run, verdict)
    items = top_lists.lists_of(run)
    again = splits.of(run)
    if items is None:
        verdict.unchecked.append(f"ranks: the record of an earlier version has no {top_lists.FILE}")
    if again.split is None:
        verdict.unchecked.append(f"ranks: the split is not here ({again.why})")
        return verdict
    if not again.from_raw:
        verdict.unchecked.append(f"targets: the split was not made again from the raw files ({again.why})")
    wrong = [*splits.cached_problems(run), *recheck.from_split(run, again.split)]
    verdict.note("targets from the raw files" if again.from_raw else "targets of the prepared split", wrong)
    if items is not None:
        verdict.checked.append(f"ranks from the first {items.shape[1]} of the lists")
        if items.shape[1] < run.spec.protocol["depth"]:
            verdict.unchecked.append(f"ranks past {items.shape[1]}: a record has no longer lists")
    if run.manifest.external:
        verdict.unchecked.append("lists: they were made elsewhere")
    elif users:
        weights.check(run, again.split.folder, root, users=users, verdict=verdict)
    else:
        verdict.unchecked.append("certificate and scores: --users 0 ranks nobody again")
    return verdict


def _note_outside(run: Bundle, verdict: Verdict) -> None:
    """Metrics of other packages are held against their seals: to compute them is their packages' code."""
    for file in record.files_of(run.path):
        try:
            found = record.OutsideMetric.read(file)
        except DigestError as error:
            verdict.wrong.append(f"{error.what} ({error.why})")
        else:
            verdict.unchecked.append(f"{found.label} of {found.whose}: recbench score computes it again")
