"""A matrix of runs in one file, `leaderboards/<name>/study.toml`: said once, run as often as one likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from recbench.base.files import expanded, parse_toml
from recbench.base.params import parse_selection
from recbench.base.root import Root
from recbench.errors import MissingError, UsageError, unknown_name
from recbench.planning.recipes import FOLLOWED
from recbench.planning.resolve import Resolved, Selection
from recbench.planning.resources import Resources, minutes_of
from recbench.protocol import PRIMARY_METRIC
from recbench.results.metrics import parse as parse_metric

FILE = "study.toml"
AXES = ("method", "dataset", "backbone", "paradigm", "seed")
"""By these a rule of `[[exclude]]` or `[[resources]]` names the runs that it is for."""
ALL_PAIRS = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds for the runs that agree with `where` on every axis that it names."""

    where: Mapping[str, Any]
    resources: Mapping[str, Any] = field(default_factory=dict)

    def applies(self, axes: Mapping[str, Sequence[Any]]) -> bool:
        return all(value in axes[axis] for axis, value in self.where.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    name: str
    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    backbones: tuple[str, ...] = ("tiny",)
    paradigms: tuple[str, ...] = ("semantic-id",)
    protocol: str = "ilrec"
    ranker: str | None = None
    regime: str = "recipe"
    settings: Mapping[str, str] = field(default_factory=dict)
    limit_users: int | None = None
    metric: str = PRIMARY_METRIC
    pairs: str = ALL_PAIRS
    """`all`, or the row that the others are compared with: the family that is tested."""
    exclude: tuple[Rule, ...] = ()
    resources: tuple[Rule, ...] = ()

    @property
    def reference(self) -> str | None:
        return None if self.pairs == ALL_PAIRS else self.pairs

    def selections(self) -> list[Selection]:
        """Every run of the matrix that no rule excludes."""
        chosen = []
        cells = product(self.datasets, self.backbones, self.paradigms, self.methods, self.seeds)
        for dataset, backbone, paradigm, method, seed in cells:
            selection = Selection(
                method=method,
                dataset=dataset,
                backbone=backbone,
                paradigm=paradigm,
                protocol=self.protocol,
                ranker=self.ranker,
                settings=self.settings,
                regime=self.regime,
                seed=seed,
                limit_users=self.limit_users,
            )
            if not any(rule.applies(axes_of(selection)) for rule in self.exclude):
                chosen.append(selection)
        return chosen

    def resources_of(self, run: Resolved) -> Resources:
        """Of all rules that apply, the last word on each amount."""
        given: dict[str, Any] = {}
        for rule in self.resources:
            if rule.applies(axes_of(run.selection)):
                given |= rule.resources
        return Resources(**given)


def axes_of(selection: Selection) -> dict[str, Sequence[Any]]:
    """The values by which a rule may name the run: a method by its name or as the study spells it."""
    return {
        "method": (parse_selection(selection.method)[0], selection.method),
        "dataset": (selection.dataset,),
        "backbone": (selection.backbone,),
        "paradigm": (selection.paradigm,),
        "seed": (selection.seed,),
    }


def find(text: str, root: Root) -> Study:
    """A study by its file, or by its name under `leaderboards/`. MissingError where there is none."""
    named = root.path / "leaderboards" / text / FILE
    given = root.cwd / expanded(text)
    for path in (given, given / FILE, named):
        if path.is_file():
            return read(path)
    known = sorted(path.parent.name for path in root.path.glob(f"leaderboards/*/{FILE}"))
    raise MissingError(
        f"there is no study '{text}'",
        why=f"looked for {given} and {named}; known: {', '.join(known) or 'none'}",
        fix="write one; docs/studies.md shows how",
    )


def read(path: Path) -> Study:
    """DataError for a file that is no TOML, UsageError for a key or a value that does not belong there."""
    table = parse_toml(path.read_bytes(), path)
    try:
        return parse(table, name=path.parent.name if path.name == FILE else path.stem)
    except UsageError as error:
        raise UsageError(f"{path}: {error.what}", why=error.why, fix=error.fix) from None


_LISTS = ("methods", "datasets", "backbones", "paradigms")
_TEXTS = ("protocol", "ranker", "regime", "metric", "pairs")


def parse(table: Mapping[str, Any], *, name: str) -> Study:
    """The study that a TOML table describes. Names of methods and datasets are looked up by the plan."""
    known = (*_LISTS, *_TEXTS, "seeds", "settings", "limit_users", "exclude", "resources")
    for key in table:
        if key not in known:
            raise unknown_name("key of a study", key, known)
    for key in ("methods", "datasets"):
        if not table.get(key):
            raise UsageError(f"a study needs {key}", fix=f'{key} = ["..."]')
    values: dict[str, Any] = {key: _texts(key, table[key]) for key in _LISTS if key in table}
    values |= {key: _text(key, table[key]) for key in _TEXTS if key in table}
    parse_metric(values.get("metric", PRIMARY_METRIC))
    for key in ("exclude", "resources"):
        if not isinstance(table.get(key, []), list) or not all(
            isinstance(r, dict) for r in table.get(key, [])
        ):
            raise UsageError(f"{key} is not a list of tables", fix=f"[[{key}]]")
    if not isinstance(table.get("settings", {}), dict):
        raise UsageError(f"settings is not a table: {table['settings']!r}", fix="[settings]")
    values["seeds"] = _seeds(table.get("seeds", 1))
    values["settings"] = {key: _plain(key, value) for key, value in table.get("settings", {}).items()}
    if "limit_users" in table:
        values["limit_users"] = _count("limit_users", table["limit_users"])
    values["exclude"] = tuple(_rule("exclude", rule) for rule in table.get("exclude", []))
    values["resources"] = tuple(_rule("resources", rule) for rule in table.get("resources", []))
    study = Study(name=name, **values)
    _check_names(study)
    if not study.selections():
        raise UsageError(
            "the study has no runs", why="its rules exclude all of them", fix="drop an [[exclude]]"
        )
    return study


def _check_names(study: Study) -> None:
    """A rule that is for no run, and a row to compare with that there is none of, are slips."""
    methods = [parse_selection(method)[0] for method in study.methods]
    if study.reference is not None and parse_selection(study.reference)[0] not in methods:
        raise unknown_name("row to compare with", study.reference, (ALL_PAIRS, *methods))
    for method in study.methods:
        followed = parse_selection(method)[1].get(FOLLOWED)
        if followed is not None and followed not in methods:
            raise unknown_name(f"method of this study to train as, in {method}:", followed, methods)
    values: dict[str, Sequence[Any]] = {
        "method": [*methods, *study.methods],
        "dataset": study.datasets,
        "backbone": study.backbones,
        "paradigm": study.paradigms,
        "seed": study.seeds,
    }
    for rule in (*study.exclude, *study.resources):
        for axis, value in rule.where.items():
            if value not in values[axis]:
                raise unknown_name(f"{axis} of this study", str(value), map(str, values[axis]))


def _rule(kind: str, table: Mapping[str, Any]) -> Rule:
    amounts = ("gpus", "nodes", "time") if kind == "resources" else ()
    for key in table:
        if key not in (*AXES, *amounts):
            raise unknown_name(f"key of [[{kind}]]", key, (*AXES, *amounts))
    given: dict[str, Any] = {key: _count(key, table[key]) for key in ("gpus", "nodes") if key in table}
    if "time" in table:
        given["minutes"] = minutes_of(_text("time", table["time"]))
    where = {axis: table[axis] for axis in AXES if axis in table}
    if kind == "exclude" and not where:
        raise UsageError("an [[exclude]] without a word excludes everything", fix='method = "..."')
    return Rule(where=where, resources=given)


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"{key} is not a list of names: {value!r}", fix=f'{key} = ["..."]')
    if not value:
        raise UsageError(f"{key} is empty", fix=f'{key} = ["..."]')
    twice = sorted({name for name in value if value.count(name) > 1})
    if twice:
        raise UsageError(f"{key} names '{twice[0]}' twice")
    return tuple(value)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{key} is not a text: {value!r}", fix=f'{key} = "..."')
    return value


def _plain(key: str, value: Any) -> str:
    """A setting as the command line would say it."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise UsageError(f"settings.{key} is not a plain value: {value!r}")
    return str(value)


def _count(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{key} is not a positive number: {value!r}")
    return value


def _seeds(value: Any) -> tuple[int, ...]:
    """A number of seeds, from 0, or the seeds themselves."""
    if isinstance(value, int) and not isinstance(value, bool):
        return tuple(range(_count("seeds", value)))
    whole = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
    if not whole or not value or len(set(value)) < len(value):
        raise UsageError(f"seeds is neither a number nor a list of seeds: {value!r}", fix="seeds = 5")
    return tuple(value)
