"""The tables of the papers beside what was run here: ratio, gain over SFT, verdicts, and known causes.

Only means are printed in the papers, so nothing is tested against them. A verdict says whether the printed
number lies where one more seed of ours would, on the same users: an interval that is wide because there are
few users or seeds cannot make it agree by itself, and one seed alone makes no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recbench.board.model import Cause
from recbench.board.paper.prediction import new_seed
from recbench.board.paper.published import ANY, NO_METHOD, ROUNDING, PaperRow, PaperTable, possible
from recbench.board.rows import SFT, MethodRuns, parent_of, rows_of, sort_out
from recbench.comparison import table_pairs
from recbench.comparison.pair_estimates import estimates, values
from recbench.data import Floats
from recbench.results.bundle import Bundle
from recbench.results.metrics import GAINS

Agreement = Literal["agrees", "higher", "lower", "one seed", "not run", "not measured"]
COUNTS = ("users", "items", "interactions", "rows")
"""Of which a paper prints some; rows are interactions after their user's first."""
VALIDATED = "valid_ndcg_at_10"


@dataclass(frozen=True, slots=True)
class OurNumber:
    """A number of ours."""

    value: float
    low: float | None = None
    high: float | None = None
    """95 % interval over users and seeds; None for a count or a cost."""
    predicted: tuple[float, float] | None = None
    """95 % prediction interval of one more seed on the same users; None where one seed was run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperCell:
    dataset: str
    paradigm: str
    method: str
    metric: str
    published: float
    impossible: bool
    """The row's printed numbers cannot all come from one ranking."""
    ours: OurNumber | None
    ratio: float | None
    verdict: Agreement
    """Ours is higher or lower than what is printed, beyond its prediction interval; or it agrees."""
    gain_published: float | None
    """What is printed above the SFT of the same dataset and paradigm."""
    gain: OurNumber | None
    """Ours above our own SFT."""
    gain_verdict: Agreement | None
    """Of the gain; None where the paper prints none."""
    causes: Sequence[Cause]
    runs: Sequence[str]
    seeds: Sequence[int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Ours:
    """What was run here: rows with the others of their table, and the fits by id."""

    tables: Mapping[str, Sequence[MethodRuns]]  # by the key of each row
    rows: Sequence[MethodRuns]
    fits: Mapping[str, Bundle]

    @classmethod
    def of(cls, bundles: Sequence[Bundle]) -> Ours:
        groups, _ = sort_out(sorted(bundles, key=lambda run: run.id))
        tables = [rows_of(group) for group in groups]
        return cls(
            {row.key: rows for rows in tables for row in rows},
            [row for rows in tables for row in rows],
            {run.spec.fit.id: run for run in bundles},
        )


def reproduce(table: PaperTable, bundles: Sequence[Bundle]) -> list[PaperCell]:
    """Every cell of the table, beside the finished runs that come closest to how it was made.

    Nothing stands beside a claim.
    """
    ours = Ours.of(() if table.claim else bundles)
    return [cell for printed in table.rows for cell in _cells(table, printed, ours)]


def _cells(table: PaperTable, printed: PaperRow, ours: Ours) -> Iterator[PaperCell]:
    causes = {
        row.key: known_causes(table, row, ours.fits)
        for row in ours.rows
        if ran_as_printed(table, printed, row)
    }
    chosen = min(
        (row for row in ours.rows if row.key in causes),
        key=lambda row: (len(causes[row.key]), -_validated(row), -len(row.runs), row.key),
        default=None,
    )
    sft = None if chosen is None or printed.method == SFT else parent_of(chosen, ours.tables[chosen.key])
    impossible = not possible(printed.values)
    for metric, value in printed.values.items():
        found = None if chosen is None else our_number(chosen, metric, ours.fits)
        gain_printed = printed_gain(table, printed, metric)
        gain = None if chosen is None or sft is None or gain_printed is None else _gain(chosen, sft, metric)
        verdict = _verdict(_counted(value, metric, table), found) if chosen is not None else "not run"
        of_gain: Agreement | None = None
        if gain_printed is not None:
            of_gain = "not run" if sft is None else _verdict((gain_printed,), gain, slack=ROUNDING)
        differs = bool({verdict, of_gain} & {"higher", "lower", "one seed"})
        yield PaperCell(
            dataset=printed.dataset,
            paradigm=printed.paradigm,
            method=printed.name,
            metric=metric,
            published=value,
            impossible=impossible,
            ours=found,
            ratio=found.value / value if found is not None and value else None,
            verdict=verdict,
            gain_published=gain_printed,
            gain=gain,
            gain_verdict=of_gain,
            causes=((causes[chosen.key] or ("unknown",)) if chosen is not None and differs else ()),
            runs=[run.id for run in chosen.runs] if chosen is not None else [],
            seeds=chosen.seeds if chosen is not None else [],
        )


def ran_as_printed(table: PaperTable, printed: PaperRow, row: MethodRuns) -> bool:
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
        and all(fit.params.get(name) == value for name, value in table.params_of(printed).items())
        and set(run.manifest.params) <= table.free_in(printed)
    )


def _validated(row: MethodRuns) -> float:
    """The best validation NDCG@10 of a run's curve, 0 without one, on average: it chooses a row of a grid."""
    curves = [[point[VALIDATED] for point in run.curve() if VALIDATED in point] for run in row.runs]
    return float(np.mean([max(points, default=0.0) for points in curves]))


def known_causes(table: PaperTable, row: MethodRuns, fits: Mapping[str, Bundle]) -> tuple[Cause, ...]:
    """What is known to differ from how the printed numbers were made."""
    run = row.runs[0]
    fit = run.spec.fit
    printed = table.data[fit.dataset]
    ours = counts_of(run)
    llm = fit.llm or {}
    train, paradigm = llm.get("train", {}), llm.get("paradigm", NO_METHOD)
    trains = fit.llm is not None and run.spec.ranker != {"name": "scores"}  # not a teacher's settings
    source = llm.get("identifiers", {}).get("source")
    found: dict[Cause, bool] = {
        "data": any(ours.get(count) not in _counted(value, count, table) for count, value in printed.items()),
        "backbone": bool(llm) and llm.get("backbone") != table.backbone,
        "protocol": run.spec.protocol["name"] != table.protocol,
        "budget": trains and fit.method in table.epochs and epochs(run, fits) != table.epochs[fit.method],
        "identifiers": paradigm in table.identifiers and source not in table.identifiers[paradigm],
        "tasks": paradigm in table.tasks and train.get("tasks") != table.tasks[paradigm],
        "selection": trains and table.select is not None and train.get("select") != table.select,
    }
    return tuple(cause for cause, holds in found.items() if holds)


def counts_of(run: Bundle) -> dict[str, int]:
    """The counts of the run's filtered log that are known, by the names of COUNTS."""
    known = run.manifest.statistics
    found = {name: int(known[name]) for name in COUNTS if name in known}
    if {"users", "interactions"} <= found.keys():
        found["rows"] = found["interactions"] - found["users"]
    return found


def _counted(printed: float, name: str, table: PaperTable) -> tuple[float, ...]:
    """The values that agree with a printed one. The ILRec paper counts a padding user and item."""
    padded = table.protocol == "ilrec" and name in ("users", "items")
    return (printed, printed - 1) if padded else (printed,)


def epochs(run: Bundle, fits: Mapping[str, Bundle]) -> float | None:
    """Epochs of the fit and of the parent whose weights it continued; None where one is not known.

    An iteration of SPRec has two stages, of SFT and of DPO. SOFT asks its parent for answers and starts from
    the base, unless `init=sft`.
    """
    fit = run.spec.fit
    train = (fit.llm or {}).get("train", {})
    own = train.get("epochs")
    if own is None or train.get("budget_epochs"):
        return None
    if fit.method == "sprec":
        own *= 2 * fit.params.get("iterations", 1)
    if fit.parent is None or (fit.method == "soft" and fit.params.get("init") != "sft"):
        return float(own)
    parent = fits.get(fit.parent)
    before = None if parent is None else epochs(parent, fits)
    return None if before is None else float(own) + before


def our_number(row: MethodRuns, metric: str, fits: Mapping[str, Bundle]) -> OurNumber | None:
    """The row's value of a metric, a count or a cost; None where it is not measured."""
    first = row.runs[0]
    if metric.partition("@")[0] in GAINS:
        if not _deep_enough(first, metric):
            return None
        own = values(row.runs, metric)
        found = table_pairs.means(table_pairs.moments([own]))
        mean, half = float(found.difference[0]), float(found.half()[0])
        return OurNumber(mean, mean - half, mean + half, new_seed(mean, _drawn(row, own)))
    value: float | None = None
    if metric in COUNTS:
        value = counts_of(first).get(metric)
    elif metric == "train_epochs_total":
        value = epochs(first, fits)
    elif metric == "train_time_hours":
        phases = [run.efficiency.get("seconds", {}) for run in row.runs]
        value = float(np.mean([part.get("fit", 0.0) + part.get("stages", 0.0) for part in phases])) / 3600
    return None if value is None else OurNumber(value, predicted=(value, value))


def _deep_enough(run: Bundle, metric: str) -> bool:
    cutoff = int(metric.partition("@")[2])
    return cutoff <= int(run.spec.protocol.get("depth", cutoff))


def _drawn(row: MethodRuns, values: Floats) -> list[Floats]:
    """The seed means of the row; none of a method without chance."""
    return [] if row.seeds == [None] else [values.mean(1)]


def printed_gain(table: PaperTable, printed: PaperRow, metric: str) -> float | None:
    """What the row prints above its own SFT; None for SFT itself, and where the table has none."""
    if printed.method == SFT or metric.partition("@")[0] not in GAINS:
        return None
    sft = [
        row.values[metric]
        for row in table.rows
        if (row.method, row.dataset, row.paradigm) == (SFT, printed.dataset, printed.paradigm)
    ]
    return printed.values[metric] - sft[0] if len(sft) == 1 else None


def _gain(row: MethodRuns, sft: MethodRuns, metric: str) -> OurNumber | None:
    """Ours above our own SFT."""
    if not _deep_enough(row.runs[0], metric):
        return None
    found = estimates([row.runs, sft.runs], metric)[0, 1]
    a, b = values(row.runs, metric), values(sft.runs, metric)
    drawn = [(a - b).mean(1)] if found.joint else [*_drawn(row, a), *_drawn(sft, b)]
    gain = found.estimate
    return OurNumber(gain.difference, gain.low, gain.high, new_seed(gain.difference, drawn))


def _verdict(printed: Sequence[float], ours: OurNumber | None, *, slack: float = ROUNDING / 2) -> Agreement:
    if ours is None:
        return "not measured"
    if ours.predicted is None:
        return "one seed"
    low, high = ours.predicted
    if low > max(printed) + slack:
        return "higher"
    return "lower" if high < min(printed) - slack else "agrees"
