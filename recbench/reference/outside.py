"""Samplers, rankers, identifier schemes, metrics and raw formats that packages bring, and recbench's own
samplers, which are registered as those are. None of another package is imported in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbench.base.extensions import points
from recbench.base.extensions.points import Kind
from recbench.errors import RecbenchError
from recbench.planning.plugins import extensions
from recbench.reference.entry import NamedEntry, links_in

USES: Mapping[Kind, str] = {
    "sampler": "recbench run -m sdpo:negatives={} -d ml-100k",
    "ranker": "recbench run -m sft -d ml-100k --ranker {}",
    "identifier": "recbench run -m sft -d ml-100k --set identifiers.source={}",
    "metric": "recbench score RUN --metric {}",
    "format": 'format = "{}" in a card\'s [[sources]]',
}
"""How each kind is asked for."""


def names(kind: Kind) -> list[str]:
    """All that are registered under entry points; of names that are taken, recbench's own alone."""
    return sorted({**points.outside(kind), **_own(kind)})


def rows(kind: Kind, root: Path | None = None) -> list[dict[str, Any]]:
    """A line for each; one that cannot be used says why."""
    found = []
    for name in names(kind):
        shown = entry(kind, name, root)
        found.append({"name": name, "from": shown.facts["from"], "about": shown.first_line})
    return found


def entry(kind: Kind, name: str, root: Path | None = None) -> NamedEntry:
    """What it says of itself; why it cannot be used, where that is so."""
    point = {**points.outside(kind), **_own(kind)}[name]
    try:
        one = extensions.describe(kind, name, root)
    except RecbenchError as error:
        about = f"unusable: {error.why or error.what}" + (f"; try: {error.fix}" if error.fix else "")
        return NamedEntry(kind=kind, name=name, about=about, facts={"from": points.owner(point)})
    return NamedEntry(
        kind=kind,
        name=name,
        about=one.about,
        links=links_in(one.about),
        facts={"from": one.distribution, "class": one.place, "version": one.version, **one.facts},
        parameters=one.details,
        use=USES[kind].format(name),
    )


def _own(kind: Kind) -> dict[str, Any]:
    return {name: point for name, point in points.available(kind).items() if points.is_own(point)}
