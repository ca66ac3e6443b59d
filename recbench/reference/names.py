"""All names by kind, and what a name stands for.

A name may stand for several things: `soft` is a method and a protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from recbench.base.root import Root
from recbench.dataset import card
from recbench.errors import DataError
from recbench.protocol import PROTOCOLS
from recbench.reference import methods, settings, terms
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
    "ranker": lambda _root: list(RANKERS),
    "metric": lambda _root: terms.metric_names(),
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
    "rankers": lambda _root: terms.rows_of([terms.ranker(name) for name in RANKERS]),
    "metrics": lambda _root: terms.rows_of([terms.metric(name) for name in terms.metric_names()]),
    "settings": lambda _root: settings.rows(),
}
"""The tables of `recbench list`, apart from that of runs."""


def entries(name: str, kind: str, root: Root) -> list[NamedEntry]:
    """What `name` is among the things of a kind, neither dataset nor run; empty where it is none of them."""
    if kind == "metric":
        return [terms.metric(name.lower())] if terms.is_metric(name) else []
    makers: Mapping[str, tuple[Callable[[], Sequence[str]], Callable[[], list[NamedEntry]]]] = {
        "method": (methods.names, lambda: [methods.entry(name, root.path)]),
        "backbone": (lambda: list(BACKBONES), lambda: [terms.backbone(name)]),
        "paradigm": (lambda: get_args(Paradigm), lambda: [terms.paradigm(name)]),  # type: ignore[arg-type]  # it is one of them
        "protocol": (lambda: list(PROTOCOLS), lambda: [terms.protocol(name)]),
        "ranker": (lambda: list(RANKERS), lambda: [terms.ranker(name)]),
        "setting": (settings.names, lambda: settings.entries(name, root.path)),
    }
    known, make = makers[kind]
    return make() if name in known() else []


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
