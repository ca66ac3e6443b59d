"""A sample of users, ranked again from the weights of the fit, in a worker: as the run did, and exhaustively.

K places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.base.files import scratch
from recbench.base.layout import COMPLETE, fit_folder
from recbench.base.root import Root
from recbench.dataset import split as split_files
from recbench.errors import RecbenchError
from recbench.planning import description
from recbench.results import fit_seal
from recbench.results.bundle import Bundle
from recbench.results.fit_record import FitRecord
from recbench.running import handover, local
from recbench.running.failures import MethodError, RecordedError
from recbench.running.guard.closed import closed_for
from recbench.running.task import Task
from recbench.running.workers import Workers
from recbench.verification.verdict import Verdict

CLOSE = 1e-3
"""Scores of another batch, or another machine, differ by less; items whose scores are closer may change
places."""
QUICK_SECONDS = 10.0
"""A ranking that took less is made again for everybody: a changed order of one list is then found, too."""
EXHAUSTIVE = {"budget": 1, "width": 1}
"""Settings of `exact` under which the search gives up at once, so that every item is scored."""

Lists = Mapping[str, NDArray[Any]]


def check(run: Bundle, split: Path, root: Root, *, users: int, verdict: Verdict) -> None:
    """Add to `verdict` what ranking `users` of its users again gives, where the weights are still here; all
    of them where the run ranked them in less than QUICK_SECONDS without a language model."""
    workdir = fit_folder(root.cache, run.spec.fit.id)
    if not (run.path / "topk.npz").exists() or not (workdir / COMPLETE).exists():
        verdict.unchecked.append("certificate and scores: the weights of the fit are not here")
        return
    try:
        fit_seal.check(workdir)
        for parent in FitRecord.read(workdir).parents:
            fit_seal.check(fit_folder(root.cache, parent))
    except (RecbenchError, OSError) as error:
        verdict.note("seal of the fit", [f"fit: {error}"])
        return
    stored = run.topk()
    rows = sample(len(run.ranks), len(run.ranks) if _is_quick(run) else users)
    try:
        again = rank_again(run, split, root, rows)
        verdict.note(f"{len(rows)} users ranked again", differing(run, stored, again, rows, "ranking"))
        if "certified" not in stored:
            return
        given = again.get("certified", np.zeros(len(rows), dtype=bool))
        flags = stored["certified"][rows] & ~given
        if flags.any():
            verdict.wrong.append(
                f"certificate: {int(flags.sum())} of {len(rows)} users have one that the ranker does not give"
            )
        if (run.spec.ranker or {}).get("name") != "exact":
            return
        everything = rank_again(run, split, root, rows, **EXHAUSTIVE)
    except (RecordedError, MethodError, RecbenchError) as error:  # its package is not here, say
        verdict.unchecked.append(f"certificate and scores: no ranking from the weights ({_said(error)})")
        return
    proven = stored["certified"][rows] & everything["certified"]
    if not proven.any():
        verdict.unchecked.append("certificate: the catalogue has too many tokens to score every item")
        return
    inside = {name: values[proven] for name, values in everything.items()}
    problems = differing(run, stored, inside, rows[proven], "certificate")
    verdict.note(f"{int(proven.sum())} certificates against scores of all items", problems)


def _is_quick(run: Bundle) -> bool:
    seconds = run.efficiency.get("seconds", {}).get("rank", QUICK_SECONDS)
    return run.spec.fit.llm is None and isinstance(seconds, int | float) and seconds < QUICK_SECONDS


def _said(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, MethodError) and error.__cause__ else error
    return str(cause).partition("\n")[0]


def sample(num_requests: int, users: int) -> NDArray[np.int64]:
    """[U] rows drawn without a look at the results, the same at every call."""
    chosen = np.random.default_rng(0).permutation(num_requests)[:users]
    return np.sort(chosen).astype(np.int64)


def rank_again(
    run: Bundle, split: Path, root: Root, rows: NDArray[np.int64], **ranker: int
) -> dict[str, NDArray[Any]]:
    """The arrays of `topk.npz` for these rows, with other settings of the ranker where given."""
    spec = replace(run.spec, ranker={**(run.spec.ranker or {}), **ranker}) if ranker else run.spec
    slot = local.one_slot(root)
    with scratch() as folder:
        out = Path(folder) / "ranking"
        task = Task(
            spec=spec,
            split=split,
            cache=root.cache,
            out=out,
            device=slot.device,
            threads=slot.threads,
            offline=True,
            rows=rows.tolist(),
            guard=root.guard,
            third_party=description.runs_third_party(spec),
            closed=closed_for(spec.fit.dataset, root),
        )
        log, guard = Path(folder) / "log.txt", Path(folder) / "guard.json"
        Workers().run("rank", task, slot, log, lambda *_: None, say=lambda _: None, guard=guard)
        requests = split_files.load_requests(split, spec.phase, exclude_seen=spec.protocol["exclude_seen"])
        items = len(split_files.load_catalogue(split))
        ranking, _ = handover.take(out, requests.take(rows), num_items=items, spec=spec)
        return handover.arrays(ranking)


def differing(run: Bundle, stored: Lists, again: Lists, rows: NDArray[np.int64], what: str) -> list[str]:
    """Lists whose items differ by more than the exchange of items with scores within CLOSE."""
    wrong = [row for place, row in enumerate(rows) if not _alike(stored, again, int(row), place)]
    if not wrong:
        return []
    return [
        f"{what}: the list of user '{run.users[wrong[0]]}' is not what the weights give; "
        f"so are {len(wrong)} of {len(rows)} lists"
    ]


def _alike(stored: Lists, again: Lists, row: int, place: int) -> bool:
    items, new = stored["items"][row], again["items"][place]
    if "scores" not in stored or "scores" not in again:
        return bool(np.array_equal(items, new))
    scores, new_scores = stored["scores"][row], again["scores"][place]
    if not np.allclose(scores, new_scores, rtol=CLOSE, atol=CLOSE, equal_nan=True):
        return False
    position = {int(item): place for place, item in enumerate(new) if item >= 0}
    last = new_scores[np.isfinite(new_scores)][-1:]
    for item, score in zip(items[items >= 0], scores, strict=False):
        expected = new_scores[position[int(item)]] if int(item) in position else last
        if not np.allclose(score, expected, rtol=CLOSE, atol=CLOSE):
            return False
    return True
