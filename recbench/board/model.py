"""The finished board: what `board.json` holds, and all that a rendering is made from.

Dictionaries exist only at the border: `Board.to_json` and `Board.from_json` are inverses, and the order of
the fields is the order of the keys in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from recbench.board.checklist.entries import ChecklistEntry
from recbench.board.costs import COSTS, LATER_COSTS, recorded
from recbench.board.json_values import Record, field_values
from recbench.board.outside.columns import OutsideColumn
from recbench.board.views.view import View
from recbench.comparison.across_datasets import Across, MeanOverSets, PairTest, SetDifference
from recbench.comparison.block import Kind
from recbench.comparison.compare import Scope
from recbench.results.strata import ALL

SCHEMA = 6
PARENT = "parent"
"""The reference that every row has for itself: the row it started from."""
PairFamily = Literal["declared", "all"]
"""The pairs of a table that Holm adjusts for together: those shown as differences, or all of them."""
Outcome = Literal["better", "worse", "tie"]
Cause = Literal["data", "backbone", "protocol", "budget", "identifiers", "tasks", "selection", "unknown"]
"""Why ours may differ from what a paper prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedMean:
    mean: float
    sd: float | None
    """Sample standard deviation over seeds; None for one seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanWithLimits:
    """A measure of lists with its 95 % interval over requests."""

    mean: float
    low: float
    high: float


Exposures = Mapping[str, Mapping[str, MeanWithLimits]]
"""By run and measure, `dgu@10`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCounts:
    """Users for whom the row's mean over seeds is above the other's, equal to it, below it."""

    won: int
    tied: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row minus the row it is compared with, in the board's metric."""

    against: int
    """Position of the other row in the table."""
    reference: str
    """Label of the other row."""
    difference: float
    low: float
    high: float
    low_together: float | None
    high_together: float | None
    """The interval that holds together with those of the board's family, and agrees with the verdict."""
    relative: float | None
    """`difference` over the other's mean; None where that is 0."""
    effect_size: float | None
    smallest_difference: float
    """The true difference that this comparison finds with 80 % power."""
    smallest_range: tuple[float, float]
    """80 % range of it."""
    users: UserCounts
    p: float
    p_holm: float
    verdict: Outcome
    test: str
    seed_rule: str
    """Where the variance between seeds comes from; empty without any."""
    other_p: Mapping[str, float]
    scope: Scope
    kind: Kind

    @property
    def between_systems(self) -> bool:
        return self.kind != "effect of the method"

    @classmethod
    def from_json(cls, record: Record) -> Difference:
        nested = {"users": UserCounts(**record["users"]), "smallest_range": tuple(record["smallest_range"])}
        return cls(**{**record, **nested})


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A training curve, averaged over seeds."""

    step: tuple[int, ...]
    value: tuple[float, ...]

    @classmethod
    def from_json(cls, record: Record) -> Curve:
        return cls(step=tuple(record["step"]), value=tuple(record["value"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a paper prints for the method as a row ran it."""

    source: str
    name: str
    values: Mapping[str, float]
    """By metric."""
    gains: Mapping[str, float]
    """Above the SFT that the same table prints; empty for SFT itself."""
    causes: tuple[Cause, ...]
    """What is known to differ from how the printed numbers were made."""

    @classmethod
    def from_json(cls, record: Record) -> Printed:
        return cls(**{**record, "causes": tuple(record["causes"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """A method in a block, over its seeds."""

    name: str
    """The label, with the settings that tell it apart from rows of the same label."""
    label: str
    method: str
    block: str | None
    """Name of the block; None without a language model."""
    starts_from: str | None
    """Name of the parent's row, or ids of fits that no row has; None for a start from the base."""
    external: bool
    """Whether the ranking was made elsewhere."""
    seeds: tuple[int | None, ...]
    runs: tuple[str, ...]
    scope: Scope
    metrics: Mapping[str, SeedMean]
    vs: Mapping[str, Difference]
    """By `parent`, the label of the declared reference, or that with a block: `sft · title · tiny`."""
    certified_share: float | None
    """The smallest share over seeds; None where nothing was certified."""
    uncertified: bool
    costs: Mapping[str, float | None]
    """COSTS and LATER_COSTS, means over seeds; None where some seed has none. In the file they are keys of
    the row itself."""
    curves: Mapping[str, Curve]
    checklist: tuple[ChecklistEntry, ...]
    """What it takes to reproduce the row."""
    run_means: tuple[float, ...]
    """The board's metric in each of its runs."""
    printed: Printed | None
    exposure: Exposures = field(default_factory=dict)
    """Of those of its runs that were measured; not in the file of a board without any."""

    @property
    def checkpoints_only(self) -> bool:
        return self.scope != "methods"

    @property
    def one_fit(self) -> bool:
        """Whether one fit stands for all seeds."""
        return self.seeds == (None,)

    @property
    def exposed(self) -> Mapping[str, MeanWithLimits]:
        """The measures that all of its runs have: means over the runs, of the limits too."""
        runs = [self.exposure.get(run, {}) for run in self.runs]
        return {
            name: MeanWithLimits(
                mean=fmean(one[name].mean for one in runs),
                low=fmean(one[name].low for one in runs),
                high=fmean(one[name].high for one in runs),
            )
            for name in runs[0]
            if all(name in one for one in runs)
        }

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for name, value in field_values(self).items():
            if name != "exposure" or value:
                record |= recorded(value) if name == "costs" else {name: value}
        return record

    @classmethod
    def from_json(cls, record: Record) -> BoardRow:
        plain = {name: value for name, value in record.items() if name not in (*COSTS, *LATER_COSTS)}
        nested = {
            "seeds": tuple(record["seeds"]),
            "runs": tuple(record["runs"]),
            "run_means": tuple(record["run_means"]),
            "metrics": {name: SeedMean(**score) for name, score in record["metrics"].items()},
            "vs": {name: Difference.from_json(inner) for name, inner in record["vs"].items()},
            "costs": {name: record.get(name) for name in (*COSTS, *LATER_COSTS)},
            "curves": {name: Curve.from_json(curve) for name, curve in record["curves"].items()},
            "checklist": tuple(ChecklistEntry(**entry) for entry in record["checklist"]),
            "printed": record["printed"] and Printed.from_json(record["printed"]),
            "exposure": {
                run: {name: MeanWithLimits(**one) for name, one in measured.items()}
                for run, measured in record.get("exposure", {}).items()
            },
        }
        return cls(**{**plain, **nested})


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBlock:
    """What the rows of a block share, by part; in the file the name is one key among the parts."""

    name: str
    parts: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **self.parts}

    @classmethod
    def from_json(cls, record: Record) -> NamedBlock:
        parts = {part: value for part, value in record.items() if part != "name"}
        return cls(name=record["name"], parts=parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows that were measured alike: one dataset, protocol, split and catalogue."""

    dataset: str
    protocol: Record
    """The part of the protocol that belongs to a run's identity, as runs record it."""
    split: str
    catalogue: str | None
    digests: Mapping[str, str]
    notes: tuple[str, ...]
    num_requests: int
    finished: str
    """The day on which the last of its runs finished, in UTC; empty where none says so."""
    references: tuple[str, ...]
    """The keys that the `vs` of its rows have: `parent`, the declared reference, that with its blocks."""
    num_tests: int
    metrics: tuple[str, ...]
    blocks: tuple[NamedBlock, ...]
    differs: Mapping[str, tuple[str, ...]]
    """Facts about machines, libraries and code that are not the same for all runs made here."""
    missing: tuple[str, ...]
    rows: tuple[BoardRow, ...]
    """Best mean first."""
    switchable: tuple[str, ...]
    """The metrics that have views."""
    strata: Mapping[str, str]
    """The rule of each stratum."""
    views: Mapping[str, Mapping[str, View]]
    """By stratum and metric."""
    outside: tuple[OutsideColumn, ...] = ()
    """Metrics of other packages; in the file where there are some."""

    def view(self, metric: str) -> View:
        """The metric over all users."""
        return self.views[ALL][metric]

    def title_of(self, row: BoardRow) -> str:
        """The row's name, with its block where the table has several."""
        return f"{row.name} · {row.block}" if row.block and len(self.blocks) > 1 else row.name

    def to_json(self) -> dict[str, Any]:
        record = field_values(self)
        return record if self.outside else {key: value for key, value in record.items() if key != "outside"}

    @classmethod
    def from_json(cls, record: Record) -> Table:
        nested = {
            "blocks": tuple(NamedBlock.from_json(block) for block in record["blocks"]),
            "differs": {name: tuple(values) for name, values in record["differs"].items()},
            "rows": tuple(BoardRow.from_json(row) for row in record["rows"]),
            "views": {
                stratum: {metric: View.from_json(view) for metric, view in views.items()}
                for stratum, views in record["views"].items()
            },
            "outside": tuple(OutsideColumn.from_json(column) for column in record.get("outside", ())),
        }
        texts = ("notes", "references", "metrics", "missing", "switchable")
        return cls(**{**record, **{name: tuple(record[name]) for name in texts}, **nested})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedRun:
    id: str
    label: str
    dataset: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    schema: int
    metric: str
    reference: str | None
    """The reference that was asked for; None where it was left to the default."""
    pairs: PairFamily
    alpha: float
    power: float
    command: str
    """The command that builds the board."""
    tables: tuple[Table, ...]
    across: Across | None
    """The rows that appear on several datasets; None where fewer than two do."""
    excluded: tuple[ExcludedRun, ...]
    missing: tuple[str, ...]
    """Runs still to come."""
    records: Mapping[str, str]
    """The digest of each run's manifest."""
    verified: tuple[str, ...] = ()
    """What `recbench verify` checked of these records, in words; empty where it did not, or not since."""

    def to_json(self) -> dict[str, Any]:
        return field_values(self)

    @classmethod
    def from_json(cls, record: Record) -> Board:
        """KeyError, TypeError, ValueError or AttributeError for a value that is no board of this schema."""
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema {record['schema']}, not {SCHEMA}")
        across = record["across"]
        nested = {
            "tables": tuple(Table.from_json(table) for table in record["tables"]),
            "across": None if across is None else _across(across),
            "excluded": tuple(ExcludedRun(**run) for run in record["excluded"]),
            "missing": tuple(record["missing"]),
            "verified": tuple(record["verified"]),
        }
        return cls(**{**record, **nested})


def _across(record: Record) -> Across:
    nested = {
        "names": tuple(record["names"]),
        "average_ranks": tuple(record["average_ranks"]),
        "differences": tuple(
            MeanOverSets(**{**mean, "sets": tuple(SetDifference(**one) for one in mean["sets"])})
            for mean in record["differences"]
        ),
        "pairs": tuple(PairTest(**pair) for pair in record["pairs"]),
        "cliques": tuple(tuple(clique) for clique in record["cliques"]),
    }
    return Across(**{**record, **nested})
