"""Training curves of one method, over its seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from recbench.base.nested import is_number
from recbench.board.model import Curve

Records = Sequence[Mapping[str, Any]]


def mean_curves(runs: Sequence[Records]) -> dict[str, Curve]:
    """By series name, the steps that were logged and the mean over the runs that logged them."""
    points: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for records in runs:
        for step, name, value in points_of(records):
            points[name][step].append(value)
    return {
        name: Curve(
            step=tuple(sorted(series)),
            value=tuple(sum(values) / len(values) for _, values in sorted(series.items())),
        )
        for name, series in sorted(points.items())
    }


def points_of(records: Records) -> list[tuple[int, str, float]]:
    """(step, name, value) of every finite number of a training log.

    The step is the line's number where it has none. Where a later stage counts from the start again, its
    steps follow those of the stage before.
    """
    found, before, last = [], 0, 0
    for line, record in enumerate(records):
        step = int(record.get("step", line))
        if before + step < last:
            before = last
        last = before + step
        found += [
            (last, name, float(value))
            for name, value in record.items()
            if name != "step" and is_number(value)
        ]
    return found
