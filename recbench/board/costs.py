"""What the runs of a row cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recbench.base.nested import is_number
from recbench.results.bundle import Bundle

GIB = 2.0**30


def mean_cost(runs: Sequence[Bundle], name: str) -> float | None:
    """The mean over seeds of a cost that all of them recorded; a cost by phases is its total.

    NaN and infinities are no record.
    """
    costs = [run.efficiency.get(name) for run in runs]
    totals = [cost.get("total", sum(cost.values())) if isinstance(cost, Mapping) else cost for cost in costs]
    known = [float(total) for total in totals if total is not None and is_number(total)]
    return float(np.mean(known)) if len(known) == len(runs) else None
