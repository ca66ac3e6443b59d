"""What a reader of a board can switch to: every metric and stratum, with all pairs of rows tested in each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench import compare, pairwise
from recbench.bundle import Bundle
from recbench.metrics import GAINS, parse
from recbench.rows import Row

ALPHA = 0.05
ALL = "all"


def strata(runs: Sequence[Bundle]) -> dict[str, NDArray[np.bool_]]:
    """The users [U] of each stratum; `all` is first."""
    return {ALL: np.ones(len(runs[0].ranks), dtype=bool)}


def switchable(run: Bundle, metric: str) -> list[str]:
    """The metrics that a reader may switch to. At 1 all gains are HR."""
    names = [f"{name}@{cutoff}" for cutoff in run.spec.protocol["cutoffs"] for name in GAINS]
    return sorted({metric, *(name for name in names if name not in ("ndcg@1", "mrr@1"))}, key=_by_cutoff)


def _by_cutoff(name: str) -> tuple[int, str]:
    wanted = parse(name)
    return wanted.cutoff, wanted.name


def views_of(rows: Sequence[Row], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per stratum and metric, in the order of the rows and of all pairs of them: see `_view`."""
    joint = [
        (a, b)
        for a, b in combinations(range(len(rows)), 2)
        if compare.share_seeds(rows[a].runs, rows[b].runs)
    ]
    masks = strata([run for row in rows for run in row.runs])
    views: dict[str, dict[str, Any]] = {stratum: {} for stratum in masks}
    for name in names:
        values = [compare.values(row.runs, name) for row in rows]
        for stratum, mask in masks.items():
            inside = values if stratum == ALL else [side[:, mask] for side in values]
            views[stratum][name] = _view(rows, pairwise.moments(inside), joint)
    return views


def _view(rows: Sequence[Row], found: pairwise.Moments, joint: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Means and differences with half widths of their 95 % intervals, Holm over all pairs, groups."""
    mean, mean_half = pairwise.means(found)
    pairs = pairwise.pairs(found, joint)
    p = pairwise.adjusted(pairs.p)
    size = len(rows)
    known = np.ones(size, dtype=bool)
    worse = np.zeros((size, size), dtype=bool)
    for (a, b), difference, p_holm in zip(combinations(range(size), 2), pairs.difference, p, strict=True):
        if not _speaks_of_methods(rows[a], rows[b]):
            known[[a, b]] = False
        elif p_holm <= ALPHA:
            worse[(b, a) if difference > 0 else (a, b)] = True
    return {
        "users": found.num_users,
        "mean": mean.tolist(),
        "half": mean_half.tolist(),
        "place": pairwise.places(worse, known),
        "tier": pairwise.tiers(mean, worse | worse.T, known),
        "pairs": {
            "difference": pairs.difference.tolist(),
            "half": pairs.half.tolist(),
            "p": p.tolist(),
        },
    }


def one_of_many(row: Row) -> bool:
    return len(row.runs) == 1 and row.runs[0].seed is not None


def _speaks_of_methods(a: Row, b: Row) -> bool:
    """Whether one of the rows has several seeds; rows that no seed moves need none."""
    return max(len(a.runs), len(b.runs)) > 1 or a.runs[0].seed is b.runs[0].seed is None
