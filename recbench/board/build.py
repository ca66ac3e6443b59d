"""From finished runs to a board: one JSON value that every rendering is made from, and nothing else.

A table holds what was measured alike: one dataset, protocol, split and catalogue. A row is a method in a
block, over its seeds. Every number is recomputed from the ranks that the bundles hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, Literal

import numpy as np

from recbench.base import digest
from recbench.base.nested import differing_keys, flat
from recbench.board.curves import mean_curves
from recbench.board.rows import (
    MethodRuns,
    labelled,
    measured_alike,
    missing,
    parent_of,
    rows_of,
    sort_out,
    starts_differ,
)
from recbench.board.views import one_of_many, switchable, views_of
from recbench.comparison import compare, significance
from recbench.comparison.across_datasets import across
from recbench.comparison.block import Block
from recbench.comparison.significance import ALPHA, POWER
from recbench.errors import unknown_name
from recbench.results import strata
from recbench.results.bundle import MANIFEST, Bundle
from recbench.results.metrics import GAINS, parse, summary

SCHEMA = 3
PARENT = "parent"
DEFAULT_REFERENCE = "popularity"
UNCERTIFIED_SHARE = 0.01
COSTS = (
    "seconds",
    "gpu_seconds",
    "trained_tokens",
    "generated_tokens",
    "peak_gpu_bytes",
    "peak_host_bytes",
    "num_parameters",
)

Board = dict[str, Any]
Pairs = Literal["declared", "all"]


def build(
    bundles: Iterable[Bundle],
    *,
    metric: str = "ndcg@10",
    reference: str | None = None,
    pairs: Pairs = "declared",
    missing: Sequence[str] = (),
    command: str = "recbench leaderboard build",
) -> Board:
    """The board of all runs that count; the others are listed with the reason.

    Every row is compared with its parent, and with the row labelled `reference`, by default `popularity`
    where a table has it. These differences are the family of tests, unless `pairs` declares all pairs of a
    table to be; what is outside of the family is exploratory. `missing` names runs that are still to come.
    UsageError for a metric, or a reference, that no table has. The order of `bundles` does not matter.
    """
    runs = sorted(bundles, key=lambda run: run.id)
    groups, excluded = sort_out(runs)
    labels = {run.label for group in groups for run in group}
    if reference is not None and reference not in labels:
        raise unknown_name("row", reference, labels, fix="recbench leaderboard build")
    tables = [_table(group, str(parse(metric)), reference or DEFAULT_REFERENCE, pairs) for group in groups]
    board: Board = _rounded(
        {
            "schema": SCHEMA,
            "metric": str(parse(metric)),
            "reference": reference,
            "pairs": pairs,
            "alpha": ALPHA,
            "power": POWER,
            "command": command,
            "tables": tables,
            "across": _across(tables, str(parse(metric))),
            "excluded": excluded,
            "missing": list(missing),
            "records": {run.id: digest.of_file(run.path / MANIFEST) for run in runs},
        }
    )
    return board


def _table(runs: Sequence[Bundle], metric: str, reference: str, pairs: Pairs) -> dict[str, Any]:
    rows = sorted(rows_of(runs), key=lambda row: (-_mean(row, metric), row.name, row.key))
    first = rows[0].runs[0]
    others = {(row.key, name): _against(name, row, rows) for row in rows for name in (PARENT, reference)}
    shown = [
        (row, name, other) for row in rows for name in (PARENT, reference) if (other := others[row.key, name])
    ]
    sides = {(row, other) for row, _, other in shown}
    sides |= {(a, b) for a, b in combinations(rows, 2) if pairs == "all" and (b, a) not in sides}
    family = {frozenset(side) for side in sides}
    found = {
        (a, b): compare.compare(a.runs, b.runs, metric, num_tests=len(family))
        for a, b in sorted(sides, key=lambda side: (side[0].key, side[1].key))
    }
    p_values = {frozenset(side): comparison.p for side, comparison in found.items()}
    adjusted = dict(zip(p_values, significance.holm(list(p_values.values())), strict=True))
    vs: dict[str, dict[str, Any]] = {row.key: {} for row in rows}
    for row, name, other in shown:
        apart = starts_differ(row, other, rows) or row.external or other.external
        difference = _difference(found[row, other], adjusted[frozenset((row, other))], apart)
        vs[row.key][name] = {"against": rows.index(other), **difference}
    blocks = _blocks(rows)
    names = switchable(first, metric)
    groups = strata.of_runs(runs)
    return {
        **measured_alike(first),
        "digests": {link: first.digests[link] for link in compare.CHAIN if link in first.digests},
        "notes": sorted(
            {note for one in found.values() for note in one.notes if compare.NO_RUN not in note}
            | _notes(rows, reference, others)
        ),
        "num_requests": len(first.ranks),
        "references": [name for name in (PARENT, reference) if any(name in vs[row.key] for row in rows)],
        "num_tests": len(family),
        "smallest_difference": max((one.smallest_difference for one in found.values()), default=None),
        "metrics": list(_metrics(first, metric)),
        "blocks": [{"name": name, **block} for block, name in blocks],
        "differs": _differs(runs),
        "missing": missing(rows),
        "rows": [_row(row, metric, blocks, vs[row.key], rows) for row in rows],
        "switchable": names,
        "strata": {group.name: group.rule for group in groups},
        "views": views_of(rows, names, groups),
    }


def _across(tables: Sequence[Board], metric: str) -> dict[str, Any] | None:
    """The rows that stand, by name, in the tables of several datasets; None where fewer than two do.

    Of several tables of one dataset none counts: they are no further evidence.
    """
    counts = Counter(table["dataset"] for table in tables)
    means = [
        {row["name"]: row["metrics"][metric]["mean"] for row in table["rows"]}
        for table in tables
        if counts[table["dataset"]] == 1
    ]
    names = [name for name in means[0] if all(name in one for one in means)] if len(means) > 1 else []
    if len(names) < 2:
        return None
    return asdict(across(names, np.array([[one[name] for name in names] for one in means])))


def _against(name: str, row: MethodRuns, rows: Sequence[MethodRuns]) -> MethodRuns | None:
    return parent_of(row, rows) if name == PARENT else labelled(name, row, rows)


def _notes(
    rows: Sequence[MethodRuns], reference: str, others: Mapping[tuple[str, str], MethodRuns | None]
) -> set[str]:
    """What is not compared and why, and which starts differ."""
    notes = set()
    labels = {row.label for row in rows}
    for row in rows:
        if reference in labels - {row.label} and others[row.key, reference] is None:
            notes.add(
                f"{row.name} is not compared with {reference}: several rows of other settings bear that label"
            )
        if row.parents and others[row.key, PARENT] is None:
            fits = ", ".join(sorted(row.parents))
            notes.add(f"{row.name} is not compared with its parent: no row holds fit {fits}")
        if row.external:
            notes.add(f"{row.name}: the ranking was made elsewhere, so nothing is known of its training")
            notes |= {f"{row.name}: {note}" for note in row.ranking_notes}
    for a, b in combinations(rows, 2):
        if a.block == b.block and starts_differ(a, b, rows):
            notes.add(f"difference between systems: {a.name} and {b.name} start from different parents")
    return notes


def _blocks(rows: Sequence[MethodRuns]) -> list[tuple[Block, str]]:
    blocks: list[Block] = []
    for row in rows:
        if row.block is not None and row.block not in blocks:
            blocks.append(row.block)
    return [(block, f"B{number}") for number, block in enumerate(blocks, 1)]


def _difference(comparison: compare.Comparison, p_holm: float, apart: bool) -> dict[str, Any]:
    return {
        "reference": comparison.b,
        "difference": comparison.difference,
        "low": comparison.low,
        "high": comparison.high,
        "relative": comparison.relative,
        "effect_size": comparison.effect_size,
        "users": {"won": comparison.wins, "tied": comparison.ties, "lost": comparison.losses},
        "p": comparison.p,
        "p_holm": p_holm,
        "verdict": _verdict(comparison.difference, p_holm),
        "test": comparison.test,
        "interval": comparison.interval,
        "other_p": comparison.other_p,
        "scope": comparison.scope,
        "kind": "difference between systems" if apart else comparison.kind,
    }


def _verdict(difference: float, p_holm: float) -> str:
    if p_holm > ALPHA:
        return "tie"
    return "better" if difference > 0 else "worse"


def _row(
    row: MethodRuns,
    metric: str,
    blocks: Sequence[tuple[Block, str]],
    vs: Mapping[str, Any],
    rows: Sequence[MethodRuns],
) -> dict[str, Any]:
    certified = [run.manifest.certified_share for run in row.runs]
    shares = [share for share in certified if share is not None]
    names = [name for block, name in blocks if block == row.block]
    scores = [_metrics(run, metric) for run in row.runs]
    parent = parent_of(row, rows)
    return {
        "name": row.name,
        "label": row.label,
        "method": row.runs[0].spec.fit.method,
        "block": names[0] if names else None,
        "starts_from": (parent.name if parent else ", ".join(sorted(row.parents))) if row.parents else None,
        "external": row.external,
        "seeds": row.seeds,
        "runs": [run.id for run in row.runs],
        "scope": "these checkpoints only" if one_of_many(row) else "methods",
        "metrics": {name: _mean_and_sd([score[name] for score in scores]) for name in scores[0]},
        "vs": dict(vs),
        "certified_share": min(shares) if shares else None,
        "uncertified": bool(shares) and min(shares) < 1 - UNCERTIFIED_SHARE,
        **{name: _mean_cost(row.runs, name) for name in COSTS},
        "curves": mean_curves([run.curve() for run in row.runs]),
    }


def _metrics(run: Bundle, metric: str) -> dict[str, float]:
    """The metrics of the ranks at the protocol's cutoffs and `metric`, and the recorded list measures."""
    computed = {metric: float(run.per_request(metric).mean())} | summary(
        run.ranks, run.spec.protocol["cutoffs"]
    )
    lists = {name: value for name, value in run.metrics.items() if name.partition("@")[0] not in GAINS}
    return computed | lists


def _mean(row: MethodRuns, metric: str) -> float:
    return float(compare.values(row.runs, metric).mean())


def _mean_and_sd(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation over seeds; None for one seed."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def _mean_cost(runs: Sequence[Bundle], name: str) -> float | None:
    """The mean over seeds of a cost that is recorded for all of them; phases are added where it has some."""
    costs = [run.efficiency.get(name) for run in runs]
    totals = [cost.get("total", sum(cost.values())) if isinstance(cost, Mapping) else cost for cost in costs]
    known = [float(total) for total in totals if total is not None]
    return float(np.mean(known)) if len(known) == len(runs) else None


def _differs(runs: Sequence[Bundle]) -> dict[str, list[str]]:
    """What of machines, libraries and code was not the same for all runs made here, with the values."""
    records = [
        flat({name: getattr(run.manifest, name) for name in ("hardware", "versions", "code")})
        for run in runs
        if not run.manifest.external
    ]
    return {
        key: sorted({str(record.get(key, "none")) for record in records}) for key in differing_keys(records)
    }


def _rounded(value: Any) -> Any:
    """Floats to 8 significant digits: what lies beyond depends on the order in which a machine adds."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value
