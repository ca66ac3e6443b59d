"""Floors beside a paper's table: above how many of its printed rows methods without training are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from recbench.board.paper.published import ROUNDING, PaperTable
from recbench.board.paper.reproduce import OurNumber, Ours, known_causes, our_number
from recbench.board.rows import MethodRuns
from recbench.results.bundle import Bundle
from recbench.results.metrics import GAINS

FLOORS: Mapping[str, str] = {
    "popularity": "a list of the most popular items",
    "itemknn": "an untrained table of neighbours",
    "transition": "an untrained table of transitions",
}
"""Methods that train nothing, with what each of them is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    method: str
    dataset: str
    metric: str
    ours: OurNumber
    above: Sequence[str]
    """Printed rows of the dataset that ours is above by more than their rounding, with their paradigms."""
    printed: int
    """Printed rows of the dataset that have this metric."""
    run: str


def floors(table: PaperTable, bundles: Sequence[Bundle]) -> list[Floor]:
    """The floors that were run with the table's data and protocol, by dataset, floor and metric.

    Only runs with default parameters count, so that no choice is made for the comparison; of several versions
    the one that finished last. A run of other
    users, items or interactions than the paper prints, or of another protocol, is set beside nothing.
    Nothing is tested: the papers print means alone.
    """
    if table.claim:
        return []
    ours = Ours.of(bundles)
    fitting = sorted((row for row in ours.rows if _fits(table, row, ours)), key=_finished)
    found = {(row.runs[0].spec.fit.dataset, row.runs[0].spec.fit.method): row for row in fitting}
    return [
        floor
        for dataset in measured(table)
        for method in FLOORS
        if (dataset, method) in found
        for floor in _beside(table, dataset, found[dataset, method], ours)
    ]


def measured(table: PaperTable) -> dict[str, list[str]]:
    """The datasets of the table, with the metrics of lists that are printed for them."""
    metrics: dict[str, dict[str, None]] = {}
    for row in table.rows:
        names = [name for name in row.values if name.partition("@")[0] in GAINS]
        metrics.setdefault(row.dataset, {}).update(dict.fromkeys(names))
    return {dataset: list(names) for dataset, names in metrics.items() if names}


def _fits(table: PaperTable, row: MethodRuns, ours: Ours) -> bool:
    """Whether the row is a floor of ours as it is by default, with the data and the protocol of the table."""
    run = row.runs[0]
    if run.spec.fit.method not in FLOORS or run.manifest.params or row.external:
        return False
    known = run.spec.fit.dataset in measured(table)
    return known and not {"data", "protocol"} & set(known_causes(table, row, ours.fits))


def _finished(row: MethodRuns) -> tuple[str, str]:
    return row.runs[0].manifest.finished or "", row.key


def _beside(table: PaperTable, dataset: str, row: MethodRuns, ours: Ours) -> Iterator[Floor]:
    for metric in measured(table)[dataset]:
        number = our_number(row, metric, ours.fits)
        if number is None:
            continue
        rows = [one for one in table.rows if one.dataset == dataset and metric in one.values]
        yield Floor(
            method=row.runs[0].spec.fit.method,
            dataset=dataset,
            metric=metric,
            ours=number,
            above=[
                f"{one.name}, {one.paradigm}"
                for one in rows
                if number.value > one.values[metric] + ROUNDING / 2
            ],
            printed=len(rows),
            run=row.runs[0].id,
        )
