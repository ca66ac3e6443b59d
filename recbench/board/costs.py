"""What the runs of a row cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recbench.base.nested import is_number
from recbench.results.bundle import Bundle

GIB = 2.0**30
COSTS = (
    "seconds",
    "gpu_seconds",
    "trained_tokens",
    "generated_tokens",
    "peak_gpu_bytes",
    "peak_host_bytes",
    "num_parameters",
)

LATER_COSTS = ("forward_tokens", "compute_tokens", "energy_kwh")
"""Costs that runs of earlier versions did not count, and energy, which only some machines measure: in the
file where all runs of a row have them."""


def mean_cost(runs: Sequence[Bundle], name: str) -> float | None:
    """The mean over seeds of a cost that all of them recorded; a cost by phases is its total.

    NaN and infinities are no record.
    """
    costs = [run.efficiency.get(name) for run in runs]
    totals = [cost.get("total", sum(cost.values())) if isinstance(cost, Mapping) else cost for cost in costs]
    known = [float(total) for total in totals if total is not None and is_number(total)]
    return float(np.mean(known)) if len(known) == len(runs) else None


def recorded(costs: Mapping[str, float | None]) -> dict[str, float | None]:
    """The costs that a row has in the file."""
    return {name: mean for name, mean in costs.items() if name in COSTS or mean is not None}
