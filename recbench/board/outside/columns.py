"""Metrics of other packages on a board: as the runs record them, whether the package is here or not.

They are shown below a table and order nothing: differences are tested in recbench's own metrics alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbench.results.bundle import Bundle
from recbench.results.measured.record import measured


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideColumn:
    """A metric of another package at a cut-off, for the rows of a table."""

    name: str
    """`rbp[persistence=0.8]@10`."""
    whose: str
    """Package, version and code."""
    means: tuple[float | None, ...]
    """By row, over seeds; None where a run of the row does not record it."""
    sds: tuple[float | None, ...]
    """Sample standard deviations over seeds; None for one seed."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> OutsideColumn:
        return cls(**{**record, "means": tuple(record["means"]), "sds": tuple(record["sds"])})


def columns_of(rows: Sequence[Sequence[Bundle]]) -> tuple[OutsideColumn, ...]:
    """The metrics that some row's runs all record, by name; `rows` has the runs of each.

    DigestError for a record that has changed. Values of two versions or codes of a metric are two columns.
    """
    found: dict[tuple[str, str], list[list[float]]] = {}
    for number, runs in enumerate(rows):
        for run in runs:
            for one in measured(run.path):
                for cutoff, value in one.values.items():
                    column = found.setdefault((f"{one.label}@{cutoff}", one.whose), [[] for _ in rows])
                    column[number].append(value.mean)
    columns = []
    for (name, whose), values in sorted(found.items(), key=lambda entry: _place(entry[0])):
        whole = [own if len(own) == len(runs) else [] for own, runs in zip(values, rows, strict=True)]
        if any(whole):
            columns.append(
                OutsideColumn(
                    name=name,
                    whose=whose,
                    means=tuple(float(np.mean(own)) if own else None for own in whole),
                    sds=tuple(float(np.std(own, ddof=1)) if len(own) > 1 else None for own in whole),
                )
            )
    return tuple(columns)


def _place(column: tuple[str, str]) -> tuple[str, str, int]:
    name, _, cutoff = column[0].rpartition("@")
    return name, column[1], int(cutoff)


def line(column: OutsideColumn, names: Sequence[str]) -> str:
    """`rbp@10 (my-extensions 0.1.0, version 1, code ...): sdpo 0.1234 ± 0.0010; sft 0.1100`."""
    values = [
        f"{name} {mean:.4f}" + ("" if sd is None else f" ± {sd:.4f}")
        for name, mean, sd in zip(names, column.means, column.sds, strict=True)
        if mean is not None
    ]
    return f"{column.name} ({column.whose}): {'; '.join(values)}"
