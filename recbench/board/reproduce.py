"""The tables of the papers beside what was run here: ratio, interval, verdict, and why the two may differ.

Only means are printed in the papers, so nothing is tested against them: a verdict says where the printed
number lies beside the interval of ours, over our users and seeds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise as neighbours
from typing import Any, Literal, get_args

import numpy as np

from recbench.board.rows import MethodRuns, rows_of, sort_out
from recbench.comparison import compare, table_pairs
from recbench.errors import unknown_name
from recbench.results.bundle import Bundle
from recbench.results.metrics import GAINS

Agreement = Literal["agrees", "higher", "lower", "not run", "not measured"]
Cause = Literal["data", "backbone", "protocol", "budget", "unknown"]
COUNTS = ("users", "items", "interactions")
ROUNDING = 1e-4  # printed with four decimals: a difference of two is off by at most this
NO_METHOD = "none"  # a row that trains no language model
ANY = "any"


@dataclass(frozen=True, slots=True)
class PaperRow:
    dataset: str
    paradigm: str
    method: str
    variant: str
    params: Mapping[str, Any]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A table as printed, and what is known of how it was made."""

    name: str
    title: str
    source: str
    backbone: str
    protocol: str
    epochs: Mapping[str, float]
    data: Mapping[str, Mapping[str, int]]
    printed_only: Mapping[str, str]
    """Methods that nobody can run, with the reason."""
    rows: Sequence[PaperRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperCell:
    dataset: str
    paradigm: str
    method: str
    metric: str
    published: float
    impossible: bool
    """The row's printed numbers cannot all come from one ranking."""
    ours: float | None
    low: float | None
    high: float | None
    """95 % interval of ours, over users and seeds."""
    ratio: float | None
    verdict: Agreement
    """Ours is higher or lower than what is printed, beyond its interval; or it agrees."""
    causes: Sequence[Cause]
    runs: Sequence[str]
    seeds: Sequence[int | None]


def published(name: str) -> PaperTable:
    """The table of that name, from the package. UsageError for one that is not there."""
    record = tomllib.loads((files("recbench.board") / "published.toml").read_text(encoding="utf-8"))
    if name not in record["tables"]:
        raise unknown_name("table", name, record["tables"], fix="recbench reproduce ilrec-table1")
    table, paper = record["tables"][name], record["papers"][name.partition("-")[0]]
    rows = [
        PaperRow(dataset, paradigm, method, variant, params, dict(zip(table["metrics"], values, strict=True)))
        for dataset, paradigm, method, variant, params, *values in table.get("rows", ())
    ]
    rows += [PaperRow(key, ANY, "", "", {}, record["data"][key]) for key in table.get("data", ())]
    return PaperTable(
        name=name,
        title=table["title"],
        source=f"{paper['source']}, table {name[-1]}",
        backbone=paper["backbone"],
        protocol=paper["protocol"],
        epochs=paper["epochs"],
        data=record["data"],
        printed_only=record["printed_only"],
        rows=rows,
    )


def reproduce(table: PaperTable, bundles: Sequence[Bundle]) -> list[PaperCell]:
    """Every cell of the table, beside the finished runs that come closest to how it was made."""
    groups, _ = sort_out(sorted(bundles, key=lambda run: run.id))
    rows = [row for group in groups for row in rows_of(group)]
    fits = {run.spec.fit.id: run for run in bundles}
    return [cell for printed in table.rows for cell in _cells(table, printed, rows, fits)]


def _cells(
    table: PaperTable, printed: PaperRow, rows: Sequence[MethodRuns], fits: Mapping[str, Bundle]
) -> Iterator[PaperCell]:
    causes = {row.key: _causes(table, row, fits) for row in rows if _fits(printed, row)}
    candidates = [row for row in rows if row.key in causes]
    chosen = min(candidates, key=lambda r: (len(causes[r.key]), -len(r.runs), r.key), default=None)
    impossible = not possible(printed.values)
    for metric, value in printed.values.items():
        ours = None if chosen is None else _ours(chosen, metric, fits)
        low, middle, high = ours or (None, None, None)
        counted = _counted(value, metric, table)
        verdict = _verdict(counted, ours) if chosen is not None else "not run"
        differs = verdict in ("higher", "lower")
        yield PaperCell(
            dataset=printed.dataset,
            paradigm=printed.paradigm,
            method=f"{printed.method} {_variant(printed)}".strip(),
            metric=metric,
            published=value,
            impossible=impossible,
            ours=middle,
            low=low if low != high else None,
            high=high if low != high else None,
            ratio=middle / value if middle is not None and value else None,
            verdict=verdict,
            causes=((causes[chosen.key] or ("unknown",)) if chosen is not None and differs else ()),
            runs=[run.id for run in chosen.runs] if chosen is not None else [],
            seeds=chosen.seeds if chosen is not None else [],
        )


def _variant(printed: PaperRow) -> str:
    setting = ", ".join(f"{name}={value}" for name, value in printed.params.items())
    return printed.variant or setting


def _fits(printed: PaperRow, row: MethodRuns) -> bool:
    """Whether the row ran what is printed: dataset, method, paradigm, and no other parameters."""
    run = row.runs[0]
    fit = run.spec.fit
    if fit.dataset != printed.dataset:
        return False
    if not printed.method:
        return True
    if printed.variant and not printed.params:
        return False
    paradigm = NO_METHOD if fit.llm is None else fit.llm.get("paradigm")
    return (
        fit.method == printed.method
        and printed.paradigm in (ANY, paradigm)
        and all(fit.params.get(name) == value for name, value in printed.params.items())
        and set(run.manifest.params) <= set(printed.params)
    )


def _causes(table: PaperTable, row: MethodRuns, fits: Mapping[str, Bundle]) -> tuple[Cause, ...]:
    """What is known to differ from how the printed numbers were made."""
    run = row.runs[0]
    fit = run.spec.fit
    printed = table.data[fit.dataset]
    ours = run.manifest.statistics
    backbone = None if fit.llm is None else fit.llm.get("backbone")
    found: dict[Cause, bool] = {
        "data": any(ours.get(count) not in _counted(printed[count], count, table) for count in COUNTS),
        "backbone": backbone is not None and backbone != table.backbone,
        "protocol": run.spec.protocol["name"] != table.protocol,
        "budget": fit.llm is not None and _epochs(run, fits) != table.epochs.get(fit.method),
    }
    return tuple(cause for cause, holds in found.items() if holds)


def _counted(printed: float, name: str, table: PaperTable) -> tuple[float, ...]:
    """The values that agree with a printed one. The ILRec paper counts a padding user and item."""
    padded = table.protocol == "ilrec" and name in ("users", "items")
    return (printed, printed - 1) if padded else (printed,)


def _epochs(run: Bundle, fits: Mapping[str, Bundle]) -> float | None:
    """Epochs of the fit and of its parent; None where one is not known."""
    own = ((run.spec.fit.llm or {}).get("train") or {}).get("epochs")
    if own is None or run.spec.fit.parent is None:
        return own
    parent = fits.get(run.spec.fit.parent)
    before = None if parent is None else _epochs(parent, fits)
    return None if before is None else float(own) + before


def _ours(row: MethodRuns, metric: str, fits: Mapping[str, Bundle]) -> tuple[float, float, float] | None:
    """(low, mean, high) of the row; equal where it is a count or a cost. None where it is not measured."""
    first = row.runs[0]
    name, _, cutoff = metric.partition("@")
    if name in GAINS:
        if int(cutoff) > first.spec.protocol.get("depth", int(cutoff)):
            return None
        mean, half = table_pairs.means(table_pairs.moments([compare.values(row.runs, metric)]))
        return float(mean[0] - half[0]), float(mean[0]), float(mean[0] + half[0])
    value: float | None = None
    if metric in COUNTS:
        value = first.manifest.statistics.get(metric)
    elif metric == "train_epochs_total":
        value = _epochs(first, fits)
    elif metric == "train_time_hours":
        phases = [run.efficiency.get("seconds", {}) for run in row.runs]
        value = float(np.mean([part.get("fit", 0.0) + part.get("stages", 0.0) for part in phases])) / 3600
    return None if value is None else (value, value, value)


def _verdict(printed: Sequence[float], ours: tuple[float, float, float] | None) -> Agreement:
    if ours is None:
        return "not measured"
    low, _, high = ours
    if low > max(printed) + ROUNDING / 2:
        return "higher"
    return "lower" if high < min(printed) - ROUNDING / 2 else "agrees"


def possible(values: Mapping[str, float]) -> bool:
    """Whether printed HR and NDCG at several cutoffs can come from one ranking with one target a user.

    The targets that a cutoff K2 adds to K1 add to NDCG between 1/log2(K2+1) and 1/log2(K1+2) for each that
    they add to HR; all values may be off by their rounding.
    """
    cutoffs = sorted(
        int(name[3:]) for name in values if name.startswith("hr@") and f"ndcg@{name[3:]}" in values
    )
    for near, far in neighbours([0, *cutoffs]):
        hits, gained = (
            values[f"{name}@{far}"] - (values[f"{name}@{near}"] if near else 0.0) for name in ("hr", "ndcg")
        )
        least, most = GAINS["ndcg"](np.array([far, near + 1.0]))
        slack = (1 + most) * ROUNDING
        if not least * hits - slack <= gained <= most * hits + slack:
            return False
    return True


def groups(cells: Sequence[PaperCell]) -> dict[str, list[PaperCell]]:
    """By dataset and paradigm, in the order in which they are printed first."""
    found: dict[str, list[PaperCell]] = {}
    for cell in cells:
        kind = {ANY: "", NO_METHOD: ", no language model"}.get(cell.paradigm, f", {cell.paradigm}")
        found.setdefault(cell.dataset + kind, []).append(cell)
    return found


def line(cell: PaperCell) -> list[str]:
    """The columns of a cell below its dataset and paradigm."""
    digits = ".4f" if "@" in cell.metric else ",g"
    ours = "–" if cell.ours is None else f"{cell.ours:{digits}}"
    if cell.low is not None:
        ours += f" [{cell.low:{digits}}, {cell.high:{digits}}]"
    return [
        cell.method,
        cell.metric,
        f"{cell.published:{digits}}" + (" !" if cell.impossible else ""),
        ours,
        "–" if cell.ratio is None else f"{cell.ratio:.3f}",
        cell.verdict,
        ", ".join(cell.causes),
    ]


def legend(table: PaperTable, cells: Sequence[PaperCell]) -> list[str]:
    counts = {verdict: sum(cell.verdict == verdict for cell in cells) for verdict in get_args(Agreement)}
    lines = [
        f"{len(cells)} cells: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    ]
    if any(cell.impossible for cell in cells):
        lines.append("! HR and NDCG of this row as printed cannot both come from one ranking")
    methods = {row.method for row in table.rows}
    lines += [f"{name} as printed only: {why}" for name, why in table.printed_only.items() if name in methods]
    lines.append("the papers print no spread: the interval is of ours alone, over users and seeds")
    return lines
