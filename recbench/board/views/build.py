"""What a reader of a board can switch to: every metric and stratum, with all pairs of rows tested in each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from recbench.board.rows import MethodRuns
from recbench.board.views.view import Placing, View, ViewPair
from recbench.comparison import pair_estimates, significance, table_pairs
from recbench.comparison.significance import ALPHA
from recbench.comparison.standings import kind, standings
from recbench.results.bundle import Bundle
from recbench.results.metrics import GAINS, by_user, parse
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
) -> dict[str, dict[str, View]]:
    """By stratum and metric."""
    layout = pair_estimates.layout([row.runs for row in rows])
    views: dict[str, dict[str, View]] = {group.name: {} for group in groups}
    for name in names:
        values = [pair_estimates.of_requests(row.runs, name) for row in rows]
        for group in groups:
            asking = pair_estimates.users_of(rows[0].runs, None if group.name == ALL else group)
            inside = values if group.name == ALL else [side[:, group.rows] for side in values]
            of_users = [by_user(side, asking) for side in inside]
            views[group.name][name] = _view(rows, table_pairs.moments(of_users, layout))
    return views


def _view(rows: Sequence[MethodRuns], moments: table_pairs.Moments) -> View:
    """Means and differences with half widths of their 95 % intervals, Holm over all pairs, standings."""
    means = table_pairs.means(moments)
    mean, half = means.difference, means.half()
    pairs = table_pairs.pairs(moments)
    together = pairs.half(1 - ALPHA / max(1, len(pairs.p)))
    p = significance.holm(pairs.p.tolist())
    better = [
        (a, b) if difference > 0 else (b, a)
        for (a, b), difference, p_holm in zip(
            combinations(range(len(rows)), 2), pairs.difference, p, strict=True
        )
        if p_holm <= ALPHA
    ]
    found = standings(mean, better, [kind(row.seeds) for row in rows])
    return View(
        users=moments.num_users,
        rows=tuple(
            Placing(
                mean=float(mean[row]),
                half=float(half[row]),
                letters=one.letters,
                ranks=one.ranks,
                of_checkpoint=one.of_checkpoint,
                tier=one.tier,
            )
            for row, one in enumerate(found)
        ),
        pairs=tuple(
            ViewPair(difference=difference, half=half, half_together=half_together, p=p_holm)
            for difference, half, half_together, p_holm in zip(
                pairs.difference.tolist(), pairs.half().tolist(), together.tolist(), p, strict=True
            )
        ),
    )


def one_of_many(row: MethodRuns) -> bool:
    """Whether the row is one seed of a method whose other seeds would give other numbers."""
    return len(row.runs) == 1 and row.runs[0].seed is not None
