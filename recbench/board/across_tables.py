"""The rows that the tables of several datasets share, and what the sets together say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from recbench.base import digest
from recbench.board.model import PairFamily, Table
from recbench.board.rows import MethodRuns
from recbench.comparison.across_datasets import Across, across
from recbench.comparison.pair_estimates import estimates


def across_tables(
    tables: Sequence[Table], rows: Sequence[Sequence[MethodRuns]], metric: str, pairs: PairFamily
) -> Across | None:
    """Over the datasets that have one table each; None for fewer than two rows or datasets.

    A row is a method with its resolved parameters in its block, the same on every set. Means are told of the
    pairs that are declared on every set, or of all. A dataset with several tables does not count: they are no
    further evidence.
    """
    counts = Counter(table.dataset for table in tables)
    kept = [
        (table, {row_key(row): place for place, row in enumerate(group)}, group)
        for table, group in zip(tables, rows, strict=True)
        if counts[table.dataset] == 1
    ]
    shared = [key for key in kept[0][1] if all(key in places for _, places, _ in kept)] if kept else []
    if len(kept) < 2 or len(shared) < 2:
        return None
    names = _names([kept[0][2][kept[0][1][key]] for key in shared])
    means = [[table.rows[places[key]].metrics[metric].mean for key in shared] for table, places, _ in kept]
    every = [estimates([row.runs for row in group], metric) for _, _, group in kept]
    chosen = [
        (a, b)
        for a, b in combinations(range(len(shared)), 2)
        if pairs == "all"
        or all(_declared(table, places[shared[a]], places[shared[b]]) for table, places, _ in kept)
    ]
    return across(
        names,
        np.array(means),
        datasets=[table.dataset for table, _, _ in kept],
        differences={
            (names[a], names[b]): [
                found[places[shared[a]], places[shared[b]]].estimate
                for found, (_, places, _) in zip(every, kept, strict=True)
            ]
            for a, b in chosen
        },
    )


def row_key(row: MethodRuns) -> str:
    """What a row is on every dataset: its method with resolved parameters, its block without what the data
    decide."""
    spec = row.runs[0].spec
    llm = spec.fit.llm and {name: _settings(value) for name, value in spec.fit.llm.items()}
    return digest.of_json(
        [spec.fit.method, spec.fit.method_version, spec.fit.params, llm, spec.ranker, spec.protocol]
    )


def _settings(value: Any) -> Any:
    """Without digests of files, which a dataset brings with it."""
    if isinstance(value, Mapping):
        return {name: inner for name, inner in value.items() if "digest" not in name}
    return value


def _declared(table: Table, a: int, b: int) -> bool:
    """Whether one of the rows is compared with the other."""
    pairs = ((a, b), (b, a))
    return any(found.against == other for row, other in pairs for found in table.rows[row].vs.values())


def _names(rows: Sequence[MethodRuns]) -> list[str]:
    """By label; where rows of several blocks share one, with paradigm and backbone; at last by number."""
    labels = Counter(row.name for row in rows)
    names = []
    for row in rows:
        llm = row.runs[0].spec.fit.llm or {}
        block = [str(llm[part]) for part in ("paradigm", "backbone") if llm.get(part)]
        names.append(" · ".join([row.name, *block]) if labels[row.name] > 1 else row.name)
    seen = Counter(names)
    numbers: Counter[str] = Counter()
    for place, name in enumerate(names):
        if seen[name] > 1:
            numbers[name] += 1
            names[place] = f"{name} ({numbers[name]})"
    return names
