"""The tables of the papers as printed, and what is known of how they were made."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise as neighbours
from typing import Any

import numpy as np

from recbench.errors import unknown_name
from recbench.results.metrics import GAINS

ROUNDING = 1e-4  # printed with four decimals: a difference of two is off by at most this
NO_METHOD = "none"  # a row that trains no language model
ANY = "any"


@dataclass(frozen=True, slots=True)
class PaperRow:
    dataset: str
    paradigm: str
    method: str
    variant: str
    params: Mapping[str, Any]
    values: Mapping[str, float]

    @property
    def name(self) -> str:
        setting = ", ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.method} {self.variant or setting}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A table as printed, and what is known of how it was made."""

    name: str
    title: str
    source: str
    backbone: str
    protocol: str
    epochs: Mapping[str, float]
    """Of a method, the SFT before it included; methods of which none is printed are missing."""
    identifiers: Mapping[str, Sequence[str]]
    """By paradigm, the values of `identifiers.source` that make identifiers as the paper has them."""
    tasks: Mapping[str, str]
    """By paradigm, the value of `train.tasks` that trains on the paper's tasks."""
    select: str | None
    """The value of `train.select` that selects an epoch as the paper does; None where it does not say."""
    chosen: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """By method and by dataset (or `any`), parameters that the paper set where a row prints none."""
    tuned: Mapping[str, Sequence[str]]
    """By method, parameters that the paper chose on validation and does not print."""
    settings: Sequence[str]
    """Settings of the training that a run of this table may change."""
    data: Mapping[str, Mapping[str, int]]
    printed_only: Mapping[str, str]
    """Methods that nobody can run, with the reason."""
    study: str | None
    """The study that runs all of it."""
    claim: str
    """Why no run of ours stands beside it; empty where runs do."""
    notes: Sequence[str]
    rows: Sequence[PaperRow]

    def params_of(self, row: PaperRow) -> dict[str, Any]:
        """What a run of this row sets."""
        chosen = self.chosen.get(row.method, {})
        return {**chosen.get(ANY, {}), **chosen.get(row.dataset, {}), **row.params}

    def free_in(self, row: PaperRow) -> set[str]:
        """What a run of this row may set: its parameters, what the paper tuned, and settings."""
        return {*self.params_of(row), *self.tuned.get(row.method, ()), *self.settings}


def published(name: str) -> PaperTable:
    """The table of that name, from the package. UsageError for one that is not there."""
    record = _package()
    if name not in record["tables"]:
        raise unknown_name("table", name, record["tables"], fix="recbench reproduce ilrec-table1")
    return _table(name, record)


def every_table() -> list[PaperTable]:
    """In the order of the package."""
    record = _package()
    return [_table(name, record) for name in record["tables"]]


def _package() -> dict[str, Any]:
    """Both files as one: tables that runs can stand beside, then claims."""
    ours, claims = (
        tomllib.loads((files("recbench.board.paper") / name).read_text(encoding="utf-8"))
        for name in ("published.toml", "claims.toml")
    )
    return {**ours, **{part: {**ours.get(part, {}), **inside} for part, inside in claims.items()}}


def _table(name: str, record: Mapping[str, Any]) -> PaperTable:
    table, paper = record["tables"][name], record["papers"][name.partition("-")[0]]
    rows = [
        PaperRow(dataset, paradigm, method, variant, params, dict(zip(table["metrics"], values, strict=True)))
        for dataset, paradigm, method, variant, params, *values in table.get("rows", ())
    ]
    rows += [PaperRow(key, ANY, "", "", {}, record["data"][key]) for key in table.get("data", ())]
    return PaperTable(
        name=name,
        title=table["title"],
        source=f"{paper['source']}, {table.get('where', f'table {name[-1]}')}",
        backbone=paper.get("backbone", ""),
        protocol=paper.get("protocol", ""),
        epochs=paper.get("epochs", {}),
        identifiers=paper.get("identifiers", {}),
        tasks=paper.get("tasks", {}),
        select=paper.get("select"),
        chosen=paper.get("chosen", {}),
        tuned=paper.get("tuned", {}),
        settings=["train.tasks", "train.select", *paper.get("settings", ())],
        data=record["data"],
        printed_only=record["printed_only"],
        study=table.get("study"),
        claim=table.get("claim", paper.get("claim", "")),
        notes=table.get("notes", ()),
        rows=rows,
    )


def possible(values: Mapping[str, float]) -> bool:
    """Whether printed HR and NDCG at several cutoffs can come from one ranking with one target a user.

    The targets that a cutoff K2 adds to K1 add to NDCG between 1/log2(K2+1) and 1/log2(K1+2) for each that
    they add to HR; all values may be off by their rounding.
    """
    cutoffs = sorted(
        int(name[3:]) for name in values if name.startswith("hr@") and f"ndcg@{name[3:]}" in values
    )
    for near, far in neighbours([0, *cutoffs]):
        hits, gained = (
            values[f"{name}@{far}"] - (values[f"{name}@{near}"] if near else 0.0) for name in ("hr", "ndcg")
        )
        least, most = GAINS["ndcg"](np.array([far, near + 1.0]))
        slack = (1 + most) * ROUNDING
        if not least * hits - slack <= gained <= most * hits + slack:
            return False
    return True
