"""From finished runs to a board: one JSON value that every rendering is made from, and nothing else.

A table holds what was measured alike: one data set, protocol, split and catalogue. A row is a method in a
block, over its seeds. Every number is recomputed from the ranks that the bundles hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from recbench import compare, digest, significance
from recbench.block import Block, block_of
from recbench.bundle import Bundle
from recbench.errors import unknown_name
from recbench.metrics import parse, summary

SCHEMA = 1
ALPHA = 0.05
POWER = 0.8
DEFAULT_REFERENCES = ("popularity", "sft")
UNCERTIFIED_SHARE = 0.01

Board = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The runs of one method in one block, by seed."""

    key: str
    name: str
    block: Block | None
    runs: Sequence[Bundle]


def build(
    bundles: Iterable[Bundle],
    *,
    metric: str = "ndcg@10",
    reference: str | None = None,
    command: str = "recbench leaderboard build",
) -> Board:
    """The board of all runs that count; the others are listed with the reason.

    `reference` is the label that rows are compared with, by default `popularity` and `sft` where a table
    has them. UsageError for a metric, or a reference, that no table has. The order of `bundles` does not
    matter.
    """
    kept, excluded = _sort_out(sorted(bundles, key=lambda run: run.id))
    groups: dict[str, list[Bundle]] = {}
    for run in kept:
        groups.setdefault(digest.canonical_json(_measured_alike(run)), []).append(run)
    labels = {run.label for run in kept}
    if reference is not None and reference not in labels:
        raise unknown_name("row", reference, labels, mend="recbench leaderboard build")
    references = DEFAULT_REFERENCES if reference is None else (reference,)
    tables = [_table(groups[key], str(parse(metric)), references) for key in sorted(groups)]
    board: Board = _rounded(
        {
            "schema": SCHEMA,
            "metric": str(parse(metric)),
            "alpha": ALPHA,
            "power": POWER,
            "command": command,
            "tables": tables,
            "excluded": excluded,
        }
    )
    return board


def _sort_out(bundles: Sequence[Bundle]) -> tuple[list[Bundle], list[dict[str, Any]]]:
    """The runs that a board may show, and the rest by name with why not."""
    latest: dict[tuple[str, int | None], Bundle] = {}
    reasons: dict[str, str] = {}
    for run in bundles:
        reason = _why_not(run)
        if reason:
            reasons[run.id] = reason
            continue
        place = (compare.method_key(run), run.seed)
        older, newer = sorted([latest.get(place, run), run], key=_finished)
        latest[place] = newer
        if older is not newer:
            reasons[older.id] = f"the same method and seed as run {newer.id}, which finished later"
    excluded = [
        {"id": run.id, "label": run.label, "dataset": run.spec.fit.dataset, "why": reasons[run.id]}
        for run in bundles
        if run.id in reasons
    ]
    return [run for run in bundles if run.id not in reasons], excluded


def _why_not(run: Bundle) -> str:
    if run.status == "failed":
        reason = run.reason or {}
        return f"failed ({reason.get('class')}): {reason.get('reason', '')}".strip(": ")
    if run.spec.phase != "test":
        return f"phase {run.spec.phase}"
    if run.manifest.get("off_protocol"):
        return "off protocol: " + (", ".join(run.manifest.get("reasons") or ()) or "no reason recorded")
    return ""


def _finished(run: Bundle) -> tuple[str, str]:
    return str(run.manifest.get("timings", {}).get("finished", "")), run.id


def _measured_alike(run: Bundle) -> dict[str, Any]:
    return {
        "dataset": run.spec.fit.dataset,
        "protocol": run.spec.protocol,
        "split": run.spec.fit.split,
        "catalogue": run.digests.get("catalogue"),
    }


def _table(runs: Sequence[Bundle], metric: str, references: Sequence[str]) -> dict[str, Any]:
    rows = sorted(_rows(runs), key=lambda row: (-_mean(row, metric), row.name, row.key))
    first = rows[0].runs[0]
    references = [label for label in references if any(row.runs[0].label == label for row in rows)]
    pairs = [
        (row, label, other)
        for row in rows
        for label in references
        if (other := _reference(row, label, rows)) is not None
    ]
    found = [compare.compare(a.runs, b.runs, metric, num_tests=len(pairs)) for a, _, b in pairs]
    adjusted = significance.holm([comparison.p for comparison in found])
    vs: dict[str, dict[str, Any]] = {row.key: {} for row in rows}
    for (row, label, _), comparison, p_holm in zip(pairs, found, adjusted, strict=True):
        vs[row.key][label] = _difference(comparison, p_holm)
    errors = [comparison.standard_error for comparison in found]
    places = _places(rows, metric)
    blocks = _blocks(rows)
    return {
        **_measured_alike(first),
        "digests": {link: first.digests[link] for link in compare.CHAIN if link in first.digests},
        "notes": sorted(
            {note for comparison in found for note in comparison.notes} | _ambiguous(rows, references)
        ),
        "num_requests": len(first.ranks),
        "references": references,
        "num_tests": len(pairs),
        "smallest_difference": (
            significance.smallest_difference(max(errors), power=POWER, alpha=ALPHA / len(pairs))
            if errors
            else None
        ),
        "metrics": list(_metrics(first, metric)),
        "blocks": [{"name": name, **block} for block, name in blocks],
        "differs": _differs(runs),
        "rows": [_row(row, metric, places[row.key], blocks, vs[row.key]) for row in rows],
    }


def _rows(runs: Sequence[Bundle]) -> list[Row]:
    groups: dict[str, list[Bundle]] = {}
    for run in runs:
        groups.setdefault(_row_key(run), []).append(run)
    names = _names({key: group[0] for key, group in groups.items()})
    return [
        Row(
            key,
            names[key],
            block_of(group[0]),
            sorted(group, key=lambda run: (run.seed is not None, run.seed)),
        )
        for key, group in groups.items()
    ]


def _row_key(run: Bundle) -> str:
    """The method and the block: equal settings that gave the seeds other identifiers make two rows."""
    return digest.of_json([compare.method_key(run), block_of(run)])


def _names(firsts: Mapping[str, Bundle]) -> dict[str, str]:
    """Labels; where several rows of a block share one, with the settings in which they differ."""
    alike: dict[str, list[str]] = {}
    for key, run in firsts.items():
        alike.setdefault(digest.canonical_json([run.label, block_of(run)]), []).append(key)
    names = {}
    for keys in alike.values():
        settings = {key: flat(_settings(firsts[key])) for key in keys}
        differing = differing_keys(list(settings.values()))
        for key in keys:
            inside = ", ".join(f"{name}={settings[key].get(name, 'none')}" for name in differing)
            names[key] = f"{firsts[key].label} ({inside})" if inside else firsts[key].label
    return names


def _settings(run: Bundle) -> dict[str, Any]:
    fit = run.spec.fit
    return {**(fit.llm or {}), "params": fit.params, "version": fit.method_version, "ranker": run.spec.ranker}


def _blocks(rows: Sequence[Row]) -> list[tuple[Block, str]]:
    blocks: list[Block] = []
    for row in rows:
        if row.block is not None and row.block not in blocks:
            blocks.append(row.block)
    return [(block, f"B{number}") for number, block in enumerate(blocks, 1)]


def _reference(row: Row, label: str, rows: Sequence[Row]) -> Row | None:
    """The row called `label` that `row` is compared with: that of its block, else the only one there is."""
    candidates = [other for other in rows if other.runs[0].label == label]
    if row in candidates:
        return None
    inside = [other for other in candidates if other.block == row.block]
    chosen = inside or candidates
    return chosen[0] if len(chosen) == 1 else None


def _ambiguous(rows: Sequence[Row], references: Sequence[str]) -> set[str]:
    return {
        f"{row.name} is not compared with {label}: several rows of other settings bear that label"
        for row in rows
        for label in references
        if row.runs[0].label != label and _reference(row, label, rows) is None
    }


def _difference(comparison: compare.Comparison, p_holm: float) -> dict[str, Any]:
    return {
        "reference": comparison.b,
        "difference": comparison.difference,
        "low": comparison.low,
        "high": comparison.high,
        "relative": comparison.relative,
        "effect_size": comparison.effect_size,
        "p": comparison.p,
        "p_holm": p_holm,
        "verdict": _verdict(comparison.difference, p_holm),
        "test": comparison.test,
        "interval": comparison.interval,
        "other_p": comparison.other_p,
        "scope": comparison.scope,
        "kind": comparison.kind,
    }


def _verdict(difference: float, p_holm: float) -> str:
    if p_holm > ALPHA:
        return "tie"
    return "better" if difference > 0 else "worse"


def _row(
    row: Row, metric: str, place: int | None, blocks: Sequence[tuple[Block, str]], vs: Mapping[str, Any]
) -> dict[str, Any]:
    certified = [run.manifest.get("certified_share") for run in row.runs]
    shares = [share for share in certified if share is not None]
    names = [name for block, name in blocks if block == row.block]
    scores = [_metrics(run, metric) for run in row.runs]
    one_of_many = len(row.runs) == 1 and row.runs[0].seed is not None
    return {
        "name": row.name,
        "label": row.runs[0].label,
        "method": row.runs[0].spec.fit.method,
        "block": names[0] if names else None,
        "place": place,
        "seeds": [run.seed for run in row.runs],
        "runs": [run.id for run in row.runs],
        "scope": "these checkpoints only" if one_of_many else "methods",
        "metrics": {name: _mean_and_sd([score[name] for score in scores]) for name in scores[0]},
        "vs": dict(vs),
        "certified_share": min(shares) if shares else None,
        "uncertified": bool(shares) and min(shares) < 1 - UNCERTIFIED_SHARE,
        "seconds": _mean_cost(row.runs, "seconds"),
        "trained_tokens": _mean_cost(row.runs, "trained_tokens"),
        "generated_tokens": _mean_cost(row.runs, "generated_tokens"),
        "num_parameters": _mean_cost(row.runs, "num_parameters"),
    }


def _metrics(run: Bundle, metric: str) -> dict[str, float]:
    """The metrics of the ranks at the protocol's cutoffs and `metric`, and the recorded list measures."""
    computed = {metric: float(run.per_request(metric).mean())} | summary(
        run.ranks, run.spec.protocol["cutoffs"]
    )
    lists = {
        name: value for name, value in run.metrics.items() if name.split("@")[0] in ("coverage", "popularity")
    }
    return computed | lists


def _mean(row: Row, metric: str) -> float:
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


def _places(rows: Sequence[Row], metric: str) -> dict[str, int | None]:
    """1 + the number of rows that are better beyond noise: Holm over all pairs of the table.

    None for a row that is beside another in a pair which speaks of checkpoints only, being one seed each:
    such a pair is not tested, so no place is known.
    """
    pairs = list(combinations(rows, 2))
    tested = [(a, b) for a, b in pairs if _speaks_of_methods(a, b)]
    estimates = [
        significance.crossed_t(
            compare.values(a.runs, metric),
            compare.values(b.runs, metric),
            joint=compare.share_seeds(a.runs, b.runs),
        )
        for a, b in tested
    ]
    places = {row.key: 1 for row in rows}
    adjusted = significance.holm([estimate.p for estimate in estimates])
    for (a, b), estimate, p in zip(tested, estimates, adjusted, strict=True):
        if p <= ALPHA:
            places[(b if estimate.difference > 0 else a).key] += 1
    unknown = {row.key for a, b in pairs if not _speaks_of_methods(a, b) for row in (a, b)}
    return {key: None if key in unknown else place for key, place in places.items()}


def _speaks_of_methods(a: Row, b: Row) -> bool:
    """Whether one of the rows has several seeds; rows that no seed moves need none."""
    return max(len(a.runs), len(b.runs)) > 1 or a.runs[0].seed is b.runs[0].seed is None


def _differs(runs: Sequence[Bundle]) -> dict[str, list[str]]:
    """What of machines, libraries and code was not the same for all runs made here, with the values."""
    records = [
        flat({name: run.manifest.get(name, {}) for name in ("hardware", "versions", "code")})
        for run in runs
        if not run.manifest.get("external")
    ]
    return {
        key: sorted({str(record.get(key, "none")) for record in records}) for key in differing_keys(records)
    }


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def differing_keys(records: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = sorted({key for record in records for key in record})
    return [key for key in keys if any(record.get(key) != records[0].get(key) for record in records)]


def _rounded(value: Any) -> Any:
    """Floats to 8 significant digits: what lies beyond depends on the order in which a machine adds."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value
