"""Metrics of other packages over finished runs: asked in a child process, which sees a run's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from recbench.base import digest
from recbench.base.extensions import points
from recbench.base.extensions.points import UnusablePluginError, owner
from recbench.base.params import parse_selection
from recbench.comparison.rescore import mean_interval
from recbench.data import Floats
from recbench.errors import UsageError
from recbench.planning.plugins import arrays, extensions
from recbench.planning.plugins.asking import ask
from recbench.results import request_features
from recbench.results.bundle import MANIFEST, Bundle
from recbench.results.measured.record import RESERVED, MeasuredValue, OutsideMetric


def measure(run: Bundle, asked: str, cutoffs: Sequence[int], root: Path | None = None) -> OutsideMetric:
    """The metric that `asked` names, `NAME:key=value`, at these cut-offs.

    Means with 95 % intervals over users. UsageError for an unknown name, one of recbench's own metrics and a
    cut-off beyond the stored depth; UnusablePluginError for a metric that fails, or gives no number.
    """
    name, given = parse_selection(asked)
    if name.partition("@")[0].lower() in RESERVED:
        raise UsageError(
            f"{name} is a metric of recbench, which is computed without being named",
            why="--metric names one of another package",
            fix=f"recbench score {run.id} --k 1,5,10",
        )
    found = extensions.describe("metric", name, root)
    parameters = extensions.built("metric", name, given, root)
    (of,) = found.facts["of"]
    depth = run.spec.protocol["depth"]
    if max(cutoffs) > depth:
        raise UsageError(f"{name}@{max(cutoffs)} needs {max(cutoffs)} places, the rankings have {depth}")
    point = points.point_of("metric", name)
    who = f"metric '{name}' of {owner(point)}"
    answer = ask(
        {
            "ask": "measure",
            "kind": "metric",
            "name": name,
            "values": parameters,
            "cutoffs": list(cutoffs),
            "arrays": arrays.packed(_seen(run, of)),
        },
        [point],
        who=who,
        root=root,
        keep=False,
    )
    try:
        values = {str(k): value_of(answer[str(k)], run) for k in cutoffs}
    except (KeyError, TypeError, ValueError) as error:
        raise UnusablePluginError(
            f"{who} gives no finite number for each request of run {run.id}",
            why=str(error),
            fix=f"return [R] finite numbers, or one, in {found.place}",
        ) from error
    identity = found.identity
    return OutsideMetric(
        metric=name,
        parameters=parameters,
        of=of,
        version=identity["version"],
        distribution=identity["distribution"],
        release=point.dist.version if point.dist else "unknown",
        code=identity["code"],
        manifest=digest.of_file(run.path / MANIFEST),
        values=values,
    )


def measure_and_record(
    run: Bundle, asked: str, cutoffs: Sequence[int], root: Path | None = None
) -> dict[str, Any]:
    """As `measure`; what it gives is written beside the run, and returned as a JSON value."""
    found = measure(run, asked, cutoffs, root)
    file = found.write(run.path)
    return {**asdict(found), "label": found.label, "whose": found.whose, "file": str(file)}


def _seen(run: Bundle, of: str) -> dict[str, Any]:
    """The arrays that a metric of `ranks` or of `lists` is given."""
    if of == "ranks":
        return {"ranks": run.ranks}
    context = request_features.read(run)
    return {
        "items": run.topk()["items"],
        "item_popularity": context.item_popularity,
        "item_labels": context.item_labels,
        "history_length": context.history_length,
        "history_popularity": context.history_popularity,
    }


def value_of(answer: Any, run: Bundle) -> MeasuredValue:
    """The mean of what a metric gave for the requests of a run, with its interval over users.

    ValueError or TypeError for what is neither a finite number nor one for each request."""
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        if not math.isfinite(answer):
            raise ValueError(f"it gives {answer}")
        return MeasuredValue(mean=float(answer))
    values: Floats = np.asarray(answer, dtype=np.float64)
    if values.shape != run.ranks.shape:
        raise ValueError(f"it gives values of shape {values.shape} for {len(run.ranks)} requests")
    if not np.isfinite(values).all():
        raise ValueError(f"it gives {values[~np.isfinite(values)][0]}")
    return MeasuredValue(**mean_interval(values, run.user_numbers))
