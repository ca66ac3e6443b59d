"""Trials of a method's hyperparameters on validation: a seeded draw from its space, and their ledger."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from recbench.base import digest, params
from recbench.base.files import parse_json, write_text
from recbench.base.root import Root
from recbench.errors import DataError, UsageError
from recbench.method import Space
from recbench.planning.plan import Planned
from recbench.planning.resolve import Resolved, Selection, resolve
from recbench.protocol import PRIMARY_METRIC
from recbench.results.bundle import Bundle
from recbench.settings import for_backbone

FOLDER = "tuning"
DECLARE = (
    'space: ClassVar[Space] = {"beta": (0.1, 0.5, 1.0), "train.lr": (1e-5, 1e-4)} in the method\'s class'
)

Values = Mapping[str, str]
"""What a trial sets, in the user's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One point of a method's space. Number 0 is the method as the user named it, and sets nothing."""

    number: int
    values: Values
    resolved: Resolved

    def same_fit(self, other: Resolved) -> bool:
        """Whether `other` trains and ranks the same thing, whatever words it was asked for in."""
        return _content(self.resolved) == _content(other)


def _content(run: Resolved) -> tuple[Any, ...]:
    return (run.plugin.name, run.selection.dataset, run.params, run.llm, run.seed)


def draw(selections: Sequence[Selection], count: int, root: Path | None = None) -> list[list[Trial]]:
    """`count` trials of each selection, ranking validation items.

    UsageError names a method that has no space, and the one whose space has the fewest points where those are
    fewer than `count`: a method that is tried less often than the others is compared at a disadvantage.
    """
    drawn = [list(islice(_trials(selection, root), count)) for selection in selections]
    small = {len(trials): trials[0].resolved.plugin.name for trials in drawn if len(trials) < count}
    if small:
        fewest = min(small)
        raise UsageError(
            f"the space of '{small[fewest]}' has {fewest} points, fewer than {count} trials",
            why="every method of one tuning gets the same number of trials",
            fix=f"--trials {fewest}, or more values in the space of '{small[fewest]}'",
        )
    return drawn


def _trials(selection: Selection, root: Path | None) -> Iterator[Trial]:
    """The selection as it is, then the other points of its space in a random order without repeats.

    The order depends on the method's name and space alone: more trials continue it, and another seed or
    dataset tries the same points. A parameter that the user sets is not varied.
    """
    selection = replace(selection, phase="valid")
    name, fixed = params.parse_selection(selection.method)
    first = Trial(number=0, values={}, resolved=resolve(selection, root))
    space = space_of(first.resolved, fixed)
    yield first
    found = [first]
    shape = [len(choices) for choices in space.values()]
    for index in np.random.default_rng(zlib.crc32(name.encode())).permutation(math.prod(shape)):
        place = zip(space.items(), np.unravel_index(index, shape), strict=True)
        values = {parameter: choices[at] for (parameter, choices), at in place}
        trial = Trial(
            number=len(found),
            values=values,
            resolved=resolve(replace(selection, method=spelled(name, {**fixed, **values})), root),
        )
        if not any(trial.same_fit(other.resolved) for other in found):
            found.append(trial)
            yield trial


def space_of(run: Resolved, fixed: Mapping[str, str]) -> dict[str, list[str]]:
    """The values of each parameter that can vary, in words: for this class of backbones, without `fixed`."""
    space: Space = run.plugin.traits.space
    chosen = {
        name: for_backbone(values, run.selection.backbone, ()) if isinstance(values, Mapping) else values
        for name, values in space.items()
        if name not in fixed
    }
    words = {name: [params.as_text(value) for value in values] for name, values in chosen.items() if values}
    if not words:
        left = "all that it could vary is set" if space else "it names no values to try"
        raise UsageError(f"there is nothing to tune in '{run.selection.method}'", why=left, fix=DECLARE)
    return words


def spelled(name: str, values: Mapping[str, str]) -> str:
    """A method as `-m` takes it."""
    inside = ",".join(f"{key}={value}" for key, value in values.items())
    return f"{name}:{inside}" if inside else name


def planned_of(trial: Trial, planned: Sequence[Planned]) -> Planned:
    """The run that is this trial."""
    return next(run for run in planned if trial.same_fit(run.resolved))


def record(trial: Trial, planned: Planned, bundle: Bundle) -> dict[str, Any]:
    """A trial for the ledger; scores are None for one that failed."""
    reason = bundle.reason or {}
    complete = bundle.status == "complete"
    return {
        "method": planned.spec.fit.method,
        "dataset": planned.spec.fit.dataset,
        "trial": trial.number,
        "values": dict(trial.values),
        "asked": trial.resolved.selection.method,
        "label": bundle.label,
        "status": bundle.status,
        "class": reason.get("class"),
        "message": reason.get("what", reason.get("message")),
        "did_not_train": bundle.manifest.did_not_train,
        PRIMARY_METRIC: float(bundle.per_request(PRIMARY_METRIC).mean()) if complete else None,
        "seconds": bundle.efficiency.get("seconds", {}).get("total"),
        "trained_tokens": bundle.efficiency.get("trained_tokens"),
        "generated_tokens": bundle.efficiency.get("generated_tokens"),
        "run": bundle.id,
        "spec": planned.spec.to_json(),
    }


def best(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The complete trial with the highest score; equal ones by number, so that a default has to be beaten."""
    complete = [record for record in records if record["status"] == "complete"]
    return min(complete, key=lambda trial: (-trial[PRIMARY_METRIC], trial["trial"]), default=None)


def ledger(root: Root, run: Resolved) -> Path:
    """The file of all trials of a method on a dataset: one for each block, seed and number of users."""
    asked = asdict(run.selection)
    names = ["protocol", "limit_users", "seed"]
    if run.llm is not None:
        names += ["backbone", "paradigm", "ranker", "settings", "parent", "regime"]
    key = digest.short(digest.of_json({name: asked[name] for name in names}))
    return root.path / FOLDER / f"{run.plugin.name}-{run.selection.dataset}-{key}.jsonl"


def trials_of(root: Root, run: Bundle) -> list[dict[str, Any]]:
    """All trials of the run's method on its dataset, under its protocol and, for a language model, of its
    backbone and paradigm."""
    fit = run.spec.fit
    records = [
        record
        for path in sorted((root.path / FOLDER).glob(f"{fit.method}-{fit.dataset}-*.jsonl"))
        for record in read(path)
    ]
    return [record for record in records if _system(record["spec"]) == _system(run.spec.to_json())]


def budget_text(trials: Sequence[Mapping[str, Any]]) -> str:
    """How many trials there were and which was the best, in words."""
    if not trials:
        return "no trial of recbench tune is recorded in this root"
    chosen = best(trials)
    found = "" if chosen is None else f"; best: {chosen['asked']}"
    return f"{len(trials)} trials on validation items by {PRIMARY_METRIC.upper()}{found}"


def _system(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    fit, llm = spec["fit"], spec["fit"]["llm"] or {}
    names = (fit["method"], fit["dataset"], spec["protocol"]["name"])
    return (*names, llm.get("backbone"), llm.get("paradigm"))


def keep(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Add the records to the ledger, each in the place of an earlier one of its run: what was once tried
    stays counted."""
    merged = {record["run"]: record for record in (*read(path), *records)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(value, sort_keys=True) + "\n" for value in merged.values()))


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a ledger; none where there is no file. DataError names a line that is none."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_json(line)
            record["run"]  # what records are known by
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number} is no trial", why=repr(error), fix=f"remove the line, or {path}"
            ) from None
        records.append(record)
    return records
