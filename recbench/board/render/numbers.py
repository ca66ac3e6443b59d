"""The numbers of a board that its page carries, in few bytes: a table of sixty rows has 120,000 pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbench.board.costs import LATER_COSTS
from recbench.board.model import BoardRow, Curve, Table
from recbench.board.render import text
from recbench.board.render.cells import SHOWN_COSTS, cost_name, costs_of
from recbench.board.render.details import details
from recbench.board.views.view import View
from recbench.comparison.significance import ALPHA

UNIT = 1e7
"""Means and half widths are whole numbers of 1/UNIT."""
POINTS = 200
"""Most points of a curve: no screen shows more."""
# what the script needs of a row and of its differences
ROW = ("name", "label", "block", "starts_from", "external", "scope", "vs", "printed", "runs")
DIFFERENCE = (
    "against",
    "difference",
    "low",
    "high",
    "low_together",
    "high_together",
    "p_holm",
    "kind",
    "smallest_difference",
)
MEANINGS = {
    "head": "popular items",
    "tail": "rare items",
    "long": "long histories",
    "short": "short histories",
}


def numbers(table: Table) -> dict[str, Any]:
    """What the script needs, as JSON."""
    return {
        "title": text.title(table),
        "dataset": table.dataset,
        "protocol": f"{table.protocol['name']} v{table.protocol['version']}",
        "rows": [_row(row, table) for row in table.rows],
        "reference": text.declared_reference(table),
        "costs": [[name, cost_name(name)] for name in _costs(table)],
        "switchable": table.switchable,
        "strata": table.strata,
        "means": MEANINGS,
        "views": {
            stratum: {metric: _view(view) for metric, view in views.items()}
            for stratum, views in table.views.items()
        },
    }


def _costs(table: Table) -> list[str]:
    """The costs that the script has: of those that came later, the ones that some row has."""
    known = costs_of(table)
    return [name for name in SHOWN_COSTS if name not in LATER_COSTS or name in known]


def _row(row: BoardRow, table: Table) -> dict[str, Any]:
    record = row.to_json()
    vs = {name: {key: found[key] for key in DIFFERENCE} for name, found in record["vs"].items()}
    return {
        **{name: record[name] for name in ROW},
        **{name: row.costs[name] for name in _costs(table)},
        "title": table.title_of(row),
        "brief": _brief(row, table),
        "num_seeds": len(row.seeds),
        "vs": vs,
        "curves": {name: _thin(curve) for name, curve in row.curves.items()},
        "details": details(row, table),
        "checklist": [[f"{one.topic}: {one.variable}", one.value] for one in row.checklist if one.value],
    }


def _view(view: View) -> dict[str, Any]:
    record: dict[str, Any] = view.to_json()
    pairs: Mapping[str, Sequence[float]] = record["pairs"]
    return {
        **record,
        "mean": _whole(record["mean"]),
        "half": _whole(record["half"]),
        "pairs": {
            **{name: _whole(pairs[name]) for name in ("difference", "half", "half_together")},
            "p": [_short_p(p) for p in pairs["p"]],
        },
    }


def _whole(values: Sequence[float]) -> list[int]:
    return [round(value * UNIT) for value in values]


def _short_p(p: float) -> float:
    """With three digits, unless they would change the verdict."""
    short = float(f"{p:.3g}")
    return short if (short <= ALPHA) == (p <= ALPHA) else p


def _thin(curve: Curve) -> dict[str, Any]:
    """At most POINTS points of the curve, its ends among them."""
    last = len(curve.step) - 1
    most = min(last, POINTS - 1)
    kept = [round(number * last / most) for number in range(most + 1)] if most else [0]
    return {
        "step": [curve.step[at] for at in kept],
        "value": [float(f"{curve.value[at]:.5g}") for at in kept],
    }


def _brief(row: BoardRow, table: Table) -> str:
    """The row's name for a picture: of its block the part that tells it apart, else the unshared ones."""
    parts = [block.name.split(" · ") for block in table.blocks]
    own = (row.block or "").split(" · ")
    told = [part for part in own if part and not all(part in its for its in parts)]
    alone = [part for part in told if sum(part in its for its in parts) == 1]
    return " · ".join([row.name, *(alone[:1] or told)])
