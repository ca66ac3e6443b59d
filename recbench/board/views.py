"""What a reader of a board can switch to: every metric and stratum, with all pairs of rows tested in each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.board.rows import MethodRuns
from recbench.comparison import compare, significance, table_pairs
from recbench.comparison.letters import letters, rank_intervals
from recbench.comparison.significance import ALPHA
from recbench.data import Floats
from recbench.results.bundle import Bundle
from recbench.results.metrics import GAINS, parse
from recbench.results.strata import ALL, Stratum


def switchable(run: Bundle, metric: str) -> list[str]:
    """The metrics that a reader may switch to. At 1 all gains are HR."""
    names = [f"{name}@{cutoff}" for cutoff in run.spec.protocol["cutoffs"] for name in GAINS]
    return sorted({metric, *(name for name in names if name not in ("ndcg@1", "mrr@1"))}, key=_by_cutoff)


def _by_cutoff(name: str) -> tuple[int, str]:
    wanted = parse(name)
    return wanted.cutoff, wanted.name


def views_of(
    rows: Sequence[MethodRuns], names: Sequence[str], groups: Sequence[Stratum]
) -> dict[str, dict[str, Any]]:
    """Per stratum and metric, in the order of the rows and of all pairs of them: see `_view`."""
    joint = [
        (a, b)
        for a, b in combinations(range(len(rows)), 2)
        if compare.share_seeds(rows[a].runs, rows[b].runs)
    ]
    views: dict[str, dict[str, Any]] = {group.name: {} for group in groups}
    for name in names:
        values = [compare.values(row.runs, name) for row in rows]
        for group in groups:
            inside = values if group.name == ALL else [side[:, group.rows] for side in values]
            views[group.name][name] = _view(rows, table_pairs.moments(inside), joint)
    return views


def _view(
    rows: Sequence[MethodRuns], found: table_pairs.Moments, joint: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """Means and differences with half widths of their 95 % intervals, Holm over all pairs, groups.

    A row of one seed among many says nothing of its method, so it has no group and counts in no rank.
    """
    mean, mean_half = table_pairs.means(found)
    pairs = table_pairs.pairs(found, joint)
    p = significance.holm(pairs.p.tolist())
    size = len(rows)
    known = np.array([not one_of_many(row) for row in rows])
    known &= known.sum() > 1
    better = [
        (a, b) if difference > 0 else (b, a)
        for (a, b), difference, p_holm in zip(combinations(range(size), 2), pairs.difference, p, strict=True)
        if known[a] and known[b] and p_holm <= ALPHA
    ]
    return {
        "users": found.num_users,
        "mean": mean.tolist(),
        "half": mean_half.tolist(),
        **_standing(mean, better, known),
        "pairs": {"difference": pairs.difference.tolist(), "half": pairs.half.tolist(), "p": p},
    }


def _standing(mean: Floats, better: Sequence[tuple[int, int]], known: NDArray[np.bool_]) -> dict[str, Any]:
    """Per row the letters, the 95 % interval of its rank, and the tier; None where it is not known."""
    size = len(mean)
    differ = np.zeros((size, size), dtype=bool)
    for a, b in better:
        differ[a, b] = differ[b, a] = True
    named = [(str(a), str(b)) for a, b in better]
    best_first = [str(row) for row in np.argsort(-mean, kind="stable") if known[row]]
    shared = letters(best_first, named)
    ranks = rank_intervals(best_first, named)
    return {
        "letters": [shared.get(str(row)) for row in range(size)],
        "ranks": [list(ranks[str(row)]) if known[row] else None for row in range(size)],
        "tier": table_pairs.tiers(mean, differ, known),
    }


def one_of_many(row: MethodRuns) -> bool:
    """Whether the row is one seed of a method that others would move."""
    return len(row.runs) == 1 and row.runs[0].seed is not None
