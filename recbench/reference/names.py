"""All names by kind, and what a name stands for.

A name may stand for several things: `soft` is a method and a protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from recbench.base.environment import DISTRIBUTION
from recbench.base.extensions.points import Kind
from recbench.base.root import Root
from recbench.dataset import card
from recbench.errors import DataError
from recbench.protocol import PROTOCOLS
from recbench.reference import methods, outside, settings, terms
from recbench.reference.entry import NamedEntry
from recbench.results.bundle import find
from recbench.settings import BACKBONES, RANKERS, Paradigm

Names = Callable[[Root], Sequence[str]]

KINDS: Mapping[str, Names] = {
    "method": lambda _root: methods.names(),
    "dataset": lambda root: sorted(card.available(root.path)),
    "backbone": lambda _root: list(BACKBONES),
    "paradigm": lambda _root: get_args(Paradigm),
    "protocol": lambda _root: list(PROTOCOLS),
    "ranker": lambda _root: [*RANKERS, *outside.names("ranker")],
    "sampler": lambda _root: outside.names("sampler"),
    "identifier": lambda _root: [*terms.IDENTIFIER_SCHEMES, *outside.names("identifier")],
    "format": lambda _root: [*terms.FORMATS, *outside.names("format")],
    "metric": lambda _root: [*terms.metric_names(), *outside.names("metric")],
    "setting": lambda _root: settings.names(),
    "run": lambda root: [folder.name for folder in find(root.runs)],
}
"""The names of each kind. None of them is loaded."""

LISTS: Mapping[str, Callable[[Root], list[dict[str, Any]]]] = {
    "methods": lambda root: methods.rows(root.path),
    "datasets": lambda root: _datasets(root),
    "backbones": lambda _root: terms.backbone_rows(),
    "paradigms": lambda _root: terms.rows_of([terms.paradigm(name) for name in get_args(Paradigm)]),
    "protocols": lambda _root: terms.protocol_rows(),
    "rankers": lambda root: _rows("ranker", root),
    "samplers": lambda root: _rows("sampler", root),
    "identifiers": lambda root: _rows("identifier", root),
    "metrics": lambda root: _rows("metric", root),
    "formats": lambda root: _rows("format", root),
    "settings": lambda _root: settings.rows(),
}
"""The tables of `recbench list`, apart from that of runs."""


class OwnNames(NamedTuple):
    """recbench's own names of a kind that packages bring too."""

    names: Callable[[], Sequence[str]]
    entry: Callable[[str], NamedEntry]


OWN: Mapping[Kind, OwnNames] = {
    "sampler": OwnNames(tuple, lambda name: outside.entry("sampler", name)),  # all are registered
    "ranker": OwnNames(lambda: list(RANKERS), terms.ranker),
    "identifier": OwnNames(lambda: list(terms.IDENTIFIER_SCHEMES), terms.identifier_scheme),
    "metric": OwnNames(terms.metric_names, lambda name: terms.metric(name.lower())),
    "format": OwnNames(lambda: list(terms.FORMATS), terms.raw_format),
}


def entries(name: str, kind: str, root: Root) -> list[NamedEntry]:
    """What `name` is among the things of a kind, neither dataset nor run; empty where it is none of them."""
    for extensible, own in OWN.items():
        if kind == extensible:
            if terms.is_metric(name) if kind == "metric" else name in own.names():
                return [own.entry(name)]
            return [outside.entry(extensible, name, root.path)] if name in outside.names(extensible) else []
    makers: Mapping[str, tuple[Callable[[], Sequence[str]], Callable[[], list[NamedEntry]]]] = {
        "method": (methods.names, lambda: [methods.entry(name, root.path)]),
        "backbone": (lambda: list(BACKBONES), lambda: [terms.backbone(name)]),
        "paradigm": (
            lambda: get_args(Paradigm),
            lambda: [terms.paradigm(one) for one in get_args(Paradigm) if one == name],
        ),
        "protocol": (lambda: list(PROTOCOLS), lambda: [terms.protocol(name)]),
        "setting": (settings.names, lambda: settings.entries(name, root.path)),
    }
    known, make = makers[kind]
    return make() if name in known() else []


def _rows(kind: Kind, root: Root) -> list[dict[str, Any]]:
    """recbench's own, then those that are registered, each with its package."""
    own = [OWN[kind].entry(name) for name in OWN[kind].names()]
    return [
        *({"name": one.name, "from": DISTRIBUTION, "about": one.first_line} for one in own),
        *(row for row in outside.rows(kind, root.path) if row["name"] not in OWN[kind].names()),
    ]


def known(root: Root) -> list[str]:
    """Every name that may be shown, but those of runs."""
    return sorted({name for kind, names in KINDS.items() if kind != "run" for name in names(root)})


def _datasets(root: Root) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in sorted(card.available(root.path)):
        try:
            found = card.find(name, root.path)
        except DataError as error:  # the other sets are listed all the same
            sizes = dict.fromkeys(("users", "items", "interactions"))
            rows.append({"name": name, "title": error.what} | sizes)
            continue
        size = found.expect
        rows.append(
            {
                "name": name,
                "title": found.title,
                "users": size and size.users,
                "items": size and size.items,
                "interactions": size and size.interactions,
            }
        )
    return rows
