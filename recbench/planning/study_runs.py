"""Which finished runs belong to a study, by what they recorded.

No method and no engine is loaded for it, except where a study asks for a recipe by its name or for a control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from recbench.base import params
from recbench.planning import recipes
from recbench.planning.resolve import Resolved, Selection, llm_settings, resolve, split_settings
from recbench.planning.study import Study
from recbench.results.bundle import Bundle
from recbench.results.llm_record import ranker_record
from recbench.results.spec import FitSpec
from recbench.settings import ONE_TASK, OWN_SCHEMES, RANKERS


def members(study: Study, bundles: Sequence[Bundle], root: Path | None = None) -> list[Bundle]:
    """The runs of the matrix, finished or failed, and those of the fits that they started from.

    `root` is where they were made, as for `resolve`.
    """
    wanted = study.selections()
    own = [run for run in bundles if any(_is(run, selection, root) for selection in wanted)]
    parents = {(run.spec.fit.parent, _evaluation(run)) for run in own}
    return [run for run in bundles if run in own or (run.spec.fit.id, _evaluation(run)) in parents]


def missing(study: Study, bundles: Sequence[Bundle], root: Path | None = None) -> list[str]:
    """The runs of the matrix that have not finished, by name; `root` as for `members`."""
    finished = [run for run in bundles if run.status == "complete"]
    return [
        _name(selection, study)
        for selection in study.selections()
        if not any(_is(run, selection, root) for run in finished)
    ]


def _name(selection: Selection, study: Study) -> str:
    parts = [f"{selection.method} on {selection.dataset}"]
    parts += [selection.backbone] if len(study.backbones) > 1 else []
    parts += [selection.paradigm] if len(study.paradigms) > 1 else []
    return ", ".join([*parts, f"seed {selection.seed}"])


def _evaluation(run: Bundle) -> str:
    return f"{run.spec.ranker} {run.spec.protocol} {run.spec.phase}"


def _is(run: Bundle, wanted: Selection, root: Path | None) -> bool:
    """Whether the run is what `wanted` asks for, and nothing else about it was changed."""
    spec, fit = run.spec, run.spec.fit
    name, own = params.parse_selection(wanted.method)
    asked = (name, wanted.dataset, wanted.limit_users, wanted.protocol, wanted.phase)
    if asked != (fit.method, fit.dataset, fit.limit_users, spec.protocol["name"], spec.phase):
        return False
    if fit.seed not in (None, wanted.seed):
        return False
    given = dict(own)
    if fit.llm is not None:
        sections = split_settings(wanted.settings)
        brought = _Brought.of(wanted, sections)
        engine = llm_settings(brought.rest, brought.sections, preset={}, own={})
        identifiers = params.resolved(engine.identifiers)
        if brought.scheme:
            identifiers["source"] = fit.llm["identifiers"].get("source", "")
            if not _is_asked(brought.scheme, *_scheme_of(identifiers["source"])):
                return False
        there = {"backbone": engine.backbone, "paradigm": engine.paradigm, "identifiers": identifiers}
        if any(fit.llm[key] != value for key, value in there.items()):
            return False
        ranker = spec.ranker or {}
        if brought.ranker and not _is_asked(brought.ranker, ranker["name"], ranker.get("parameters", {})):
            return False
        if not brought.ranker and spec.ranker != ranker_record(engine.ranker):
            return False
        if bool(fit.llm["train"]["budget_epochs"]) != bool(engine.train.budget_epochs):
            return False
        given = {f"train.{key}": value for key, value in sections["train"].items()} | given
    if recipes.PRESET in own or recipes.FOLLOWED in fit.params:
        return _has_values_of(fit, resolve(wanted, root))
    changed = run.manifest.params
    return changed.keys() <= given.keys() and all(
        _same(text, _value(fit, key)) for key, text in given.items()
    )


class _Brought(NamedTuple):
    """What other packages bring to a selection, each as its name with the values asked for, and the rest.

    Their packages may be elsewhere, or be here in another version: what runs recorded of them decides.
    """

    ranker: tuple[str, Mapping[str, str]] | None
    scheme: tuple[str, Mapping[str, str]] | None
    rest: Selection
    sections: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, wanted: Selection, sections: Mapping[str, Mapping[str, str]]) -> _Brought:
        ranker, scheme, rest, left = None, None, wanted, dict(sections)
        name, values = params.parse_selection(wanted.ranker) if wanted.ranker else ("", {})
        if name and name not in RANKERS:
            ranker = (name, {**values, **sections["ranker"]})
            rest, left["ranker"] = replace(wanted, ranker=None), {}
        source = sections["identifiers"].get("source", "")
        if source and source not in OWN_SCHEMES:
            scheme = _scheme_of(source)
            left["identifiers"] = {k: v for k, v in sections["identifiers"].items() if k != "source"}
        return cls(ranker, scheme, rest, left)


def _scheme_of(source: str) -> tuple[str, dict[str, str]]:
    name, *values = source.split(":")
    return name, params.parse_assignments(values)


def _is_asked(asked: tuple[str, Mapping[str, str]], name: str, recorded: Mapping[str, Any]) -> bool:
    return asked[0] == name and all(_same(text, recorded.get(key)) for key, text in asked[1].items())


def _has_values_of(fit: FitSpec, wanted: Resolved) -> bool:
    """For what words do not say: a recipe by its name, and a control, which trains as another method does."""
    if fit.params != wanted.params:
        return False
    if fit.llm is None or wanted.llm is None:
        return fit.llm is None and wanted.llm is None
    train, made = params.resolved(wanted.llm.train), {"tasks": ONE_TASK, **fit.llm["train"]}
    return all(train.get(key) == value for key, value in made.items())


def _value(fit: FitSpec, key: str) -> Any:
    """Of a method's own parameter, or of a `train.*` setting."""
    section, _, name = key.rpartition(".")
    if section != "train":
        return fit.params.get(name)
    return {"tasks": ONE_TASK, **(fit.llm or {}).get("train", {})}.get(name)


def _same(text: str, value: Any) -> bool:
    """Whether a value is the one that was written as `text`."""
    try:
        return float(text) == float(value)
    except (TypeError, ValueError):
        return text.lower() == params.as_text(value).lower()
