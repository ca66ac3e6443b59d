"""recbench: compare preference-tuning methods for LLM-based recommendation under one protocol.

The names below do in Python what the commands of the same names do; importing this package imports none of
the libraries behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recbench.base.lazy import exporter

if TYPE_CHECKING:
    from recbench.api import datasets
    from recbench.api.boards import Leaderboard, leaderboard
    from recbench.api.differences import Differences, compare
    from recbench.api.execution import run
    from recbench.api.forecasts import Plan, plan
    from recbench.api.results import Run, Runs, load

__all__ = [
    "Differences",
    "Leaderboard",
    "Plan",
    "Run",
    "Runs",
    "compare",
    "datasets",
    "leaderboard",
    "load",
    "plan",
    "run",
]

_HOMES = {
    "run": "api.execution",
    "plan": "api.forecasts",
    "Plan": "api.forecasts",
    "load": "api.results",
    "Run": "api.results",
    "Runs": "api.results",
    "compare": "api.differences",
    "Differences": "api.differences",
    "leaderboard": "api.boards",
    "Leaderboard": "api.boards",
    "datasets": "api",
}


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # so that type checkers report a name that is not exported
    __getattr__ = exporter(__name__, _HOMES)
