"""From finished runs to a board.

A table has the runs that were measured alike: one dataset, protocol, split and catalogue. A row is a method
in a block, over its seeds. Every number is recomputed from the ranks in the bundles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recbench.base import digest
from recbench.base.nested import differing_keys, flat, is_number
from recbench.board.across_tables import across_tables
from recbench.board.checklist.entries import checklist
from recbench.board.costs import COSTS, LATER_COSTS, mean_cost
from recbench.board.curves import mean_curves
from recbench.board.differences import differences_of
from recbench.board.model import (
    SCHEMA,
    Board,
    BoardRow,
    Difference,
    Exposures,
    NamedBlock,
    PairFamily,
    SeedMean,
    Table,
)
from recbench.board.outside.columns import columns_of
from recbench.board.paper.printed import printed_of, printed_tables
from recbench.board.paper.published import PaperTable
from recbench.board.rows import (
    MethodRuns,
    blocks_of,
    measured_alike,
    missing_seeds,
    parent_of,
    rows_of,
    sort_out,
)
from recbench.board.views.build import one_of_many, switchable, views_of
from recbench.comparison import compare
from recbench.comparison.block import Block
from recbench.comparison.pair_estimates import values
from recbench.comparison.significance import ALPHA, POWER
from recbench.errors import unknown_name
from recbench.protocol import PRIMARY_METRIC
from recbench.results import strata
from recbench.results.bundle import MANIFEST, Bundle
from recbench.results.metrics import GAINS, parse, summary

DEFAULT_REFERENCE = "popularity"
UNCERTIFIED_SHARE = 0.01


def build(
    bundles: Iterable[Bundle],
    *,
    metric: str = PRIMARY_METRIC,
    reference: str | None = None,
    pairs: PairFamily = "declared",
    missing: Sequence[str] = (),
    command: str = "recbench leaderboard build",
    exposure: Exposures | None = None,
) -> Board:
    """The board of all runs that count; the others are listed with the reason.

    Every row is compared with its parent, and with the row labelled `reference`, by default `popularity`
    where a table has it. These differences are the family of tests, unless `pairs` declares all pairs of a
    table to be; all other tests are exploratory. `missing` names runs that are still to come, `exposure` has
    what was measured of the lists of runs.
    UsageError for a metric, or a reference, that no table has. The order of `bundles` does not matter.
    """
    runs = sorted(bundles, key=lambda run: run.id)
    groups, excluded = sort_out(runs)
    labels = {run.label for group in groups for run in group}
    if reference is not None and reference not in labels:
        raise unknown_name("row", reference, labels, fix="recbench leaderboard build")
    metric = str(parse(metric))
    rows = [
        sorted(rows_of(group), key=lambda row: (-_mean(row, metric), row.name, row.key)) for group in groups
    ]
    fits = {run.spec.fit.id: run for run in runs}
    context = RowContext(metric, fits, printed_tables(), exposure or {})
    tables = [_table(each, context, reference or DEFAULT_REFERENCE, pairs) for each in rows]
    board = Board(
        schema=SCHEMA,
        metric=metric,
        reference=reference,
        pairs=pairs,
        alpha=ALPHA,
        power=POWER,
        command=command,
        tables=tuple(tables),
        across=across_tables(tables, rows, metric, pairs),
        excluded=tuple(excluded),
        missing=tuple(missing),
        records={run.id: digest.of_file(run.path / MANIFEST) for run in runs},
    )
    return Board.from_json(_rounded(board.to_json()))


class RowContext(NamedTuple):
    """What rows of all tables are made with."""

    metric: str
    fits: Mapping[str, Bundle]
    papers: Sequence[PaperTable]
    exposure: Exposures


def _table(rows: Sequence[MethodRuns], context: RowContext, reference: str, pairs: PairFamily) -> Table:
    metric = context.metric
    runs = [run for row in rows for run in row.runs]
    first = rows[0].runs[0]
    differences = differences_of(rows, metric, reference, pairs)
    blocks = blocks_of(rows)
    names = switchable(first, metric)
    groups = strata.of_runs(runs)
    return Table(
        **measured_alike(first),
        digests={link: first.digests[link] for link in compare.CHAIN if link in first.digests},
        notes=tuple(sorted(differences.notes)),
        num_requests=len(first.ranks),
        finished=max((run.manifest.finished or "")[:10] for run in runs),
        references=differences.references,
        num_tests=differences.num_tests,
        metrics=tuple(_metrics(first, metric)),
        blocks=tuple(NamedBlock(name=name, parts=block) for block, name in blocks),
        differs=_differs(runs),
        missing=tuple(missing_seeds(rows)),
        rows=tuple(_row(row, context, blocks, differences.vs[row.key], rows) for row in rows),
        switchable=tuple(names),
        strata={group.name: group.rule for group in groups},
        views=views_of(rows, names, groups),
        outside=columns_of([row.runs for row in rows]),
    )


def _row(
    row: MethodRuns,
    context: RowContext,
    blocks: Sequence[tuple[Block, str]],
    vs: Mapping[str, Difference],
    rows: Sequence[MethodRuns],
) -> BoardRow:
    certified = [run.manifest.certified_share for run in row.runs]
    shares = [share for share in certified if share is not None]
    scores = [_metrics(run, context.metric) for run in row.runs]
    parent = parent_of(row, rows)
    return BoardRow(
        name=row.name,
        label=row.label,
        method=row.runs[0].spec.fit.method,
        block=next((name for block, name in blocks if block == row.block), None),
        starts_from=(parent.name if parent else ", ".join(sorted(row.parents))) if row.parents else None,
        external=row.external,
        seeds=tuple(row.seeds),
        runs=tuple(run.id for run in row.runs),
        scope="these checkpoints only" if one_of_many(row) else "methods",
        metrics={
            name: _over_seeds([score[name] for score in scores])
            for name in scores[0]
            if all(is_number(score.get(name)) for score in scores)
        },
        vs=vs,
        certified_share=min(shares) if shares else None,
        uncertified=bool(shares) and min(shares) < 1 - UNCERTIFIED_SHARE,
        costs={name: mean_cost(row.runs, name) for name in (*COSTS, *LATER_COSTS)},
        curves=mean_curves([run.curve() for run in row.runs]),
        checklist=tuple(checklist(row.runs)),
        run_means=tuple(score[context.metric] for score in scores),
        printed=printed_of(row, context.papers, context.fits),
        exposure={run.id: context.exposure[run.id] for run in row.runs if run.id in context.exposure},
    )


def _metrics(run: Bundle, metric: str) -> dict[str, float]:
    """The metrics of the ranks at the protocol's cutoffs and `metric`, and the recorded list measures."""
    computed = {metric: float(run.per_request(metric).mean())} | summary(
        run.ranks, run.spec.protocol["cutoffs"]
    )
    lists = {name: value for name, value in run.metrics.items() if name.partition("@")[0] not in GAINS}
    return computed | lists


def _mean(row: MethodRuns, metric: str) -> float:
    return float(values(row.runs, metric).mean())


def _over_seeds(values: Sequence[float]) -> SeedMean:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return SeedMean(mean=float(np.mean(values)), sd=sd)


def _differs(runs: Sequence[Bundle]) -> dict[str, tuple[str, ...]]:
    """Facts about machines, libraries and code that differ between the runs made here, with the values."""
    records = [
        flat({name: getattr(run.manifest, name) for name in ("hardware", "versions", "code")})
        | ({} if run.manifest.guard is None else {"guard": run.manifest.guard.by})
        for run in runs
        if not run.manifest.external
    ]
    return {
        key: tuple(sorted({str(record.get(key, "none")) for record in records}))
        for key in differing_keys(records)
    }


def _rounded(value: Any) -> Any:
    """Floats to 8 significant digits: the digits beyond depend on the order in which a machine adds."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
