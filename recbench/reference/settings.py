"""Settings: those of `--set`, by group, and those of recbench.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recbench.base.fields import FieldDoc, documented
from recbench.base.root import DEFAULTS
from recbench.reference import methods
from recbench.reference.entry import NamedEntry, number_text
from recbench.settings import (
    IDENTIFIER_DEFAULTS,
    IDENTIFIERS,
    RANKERS,
    TRAIN_DEFAULTS,
    PromptSettings,
    TrainSettings,
)

OF_ROOT: Mapping[str, tuple[str, str]] = {
    "backbone": ("text", "The language model where `--backbone` names none."),
    "paradigm": ("text", "How items become tokens where `--paradigm` names none."),
    "protocol": ("text", "The evaluation protocol where `--protocol` names none."),
    "ranker": ("text", "The ranker of LLM methods where `--ranker` names none; none: the paradigm's own."),
    "data": ("text", "Folder of raw files that recbench cannot ship or fetch."),
    "device": ("text", "`cpu`, `cuda` or `cuda:N`; none: a GPU where one is visible."),
    "threads": ("whole number", "CPU threads; none: all cores that the process may use."),
    "offline": ("true or false", "Whether nothing is downloaded."),
    "guard": ("one of", "How the test targets are kept from methods."),
    "mlflow": ("text", "Address of the MLflow store, or `off`; none: a file under the root."),
}
"""Type and meaning of each setting of recbench.toml."""
GUARDS = "landlock, audit, off"


def names() -> list[str]:
    """All of them, each once; `ranker.width` belongs to several rankers."""
    return list(dict.fromkeys([*(f"{group}.{one.name}" for group, _, one in _grouped()), *DEFAULTS]))


def groups() -> Mapping[str, list[str]]:
    """The names by group, for lists."""
    found: dict[str, list[str]] = {}
    for name in names():
        group, dot, _ = name.partition(".")
        found.setdefault(group if dot else "recbench.toml", []).append(name)
    return found


def entries(name: str, root: Path | None = None) -> list[NamedEntry]:
    """An entry for each owner of the setting: `identifiers.max_tokens` has that of the paradigm `title`."""
    found = [
        _entry(group, owner, one, root) for group, owner, one in _grouped() if name == f"{group}.{one.name}"
    ]
    return [*found, *([_of_root(name)] if name in DEFAULTS else [])]


def rows() -> list[dict[str, Any]]:
    """A line for each setting."""
    return [
        {
            "name": one.name,
            "type": parameter.type,
            "allowed": parameter.allowed,
            "default": "none" if parameter.default is None else parameter.default,
            "of": one.facts.get("of"),
            "about": one.about,
        }
        for name in names()
        for one in entries(name)
        for parameter in one.parameters
    ]


def _grouped() -> Iterator[tuple[str, str, FieldDoc]]:
    """Group, owner within the group, and the setting."""
    for one in documented(TrainSettings):
        yield "train", "every LLM method", one
    for paradigm, owner in IDENTIFIERS.items():
        for one in documented(owner):
            yield "identifiers", f"paradigm {paradigm}", one
    for one in documented(PromptSettings):
        yield "prompt", "every LLM method", one
    for name, ranker in RANKERS.items():
        for one in documented(ranker):
            yield "ranker", f"ranker {name}", one


def _entry(group: str, owner: str, one: FieldDoc, root: Path | None) -> NamedEntry:
    name = f"{group}.{one.name}"
    facts: dict[str, Any] = {"of": owner}
    if group == "train":
        facts |= {
            "defaults elsewhere": {
                where: values[one.name] for where, values in TRAIN_DEFAULTS.items() if one.name in values
            },
            "changed by methods": {
                method: ", ".join(f"{preset}: {number_text(value)}" for preset, value in found)
                for method, found in methods.presets_of(name, root).items()
            },
            "tried by tune": methods.tried_of(name, root),
        }
    if group == "identifiers":
        paradigm = owner.partition(" ")[2]
        facts["defaults elsewhere"] = {
            where: by_paradigm[kind][one.name]
            for where, by_paradigm in IDENTIFIER_DEFAULTS.items()
            for kind in by_paradigm
            if kind == paradigm and one.name in by_paradigm[kind]
        }
    return NamedEntry(
        kind="setting",
        name=name,
        about=one.meaning,
        facts={key: value for key, value in facts.items() if value},
        parameters=[one],
        use=f"recbench run ... --set {name}=VALUE",
    )


def _of_root(name: str) -> NamedEntry:
    kind, meaning = OF_ROOT[name]
    return NamedEntry(
        kind="setting",
        name=name,
        about=meaning,
        facts={"of": "recbench.toml", "variable": f"RECBENCH_{name.upper()}"},
        parameters=[
            FieldDoc(
                name=name,
                type=kind,
                allowed=GUARDS if name == "guard" else "",
                default=DEFAULTS[name],
                required=False,
                meaning=meaning,
                place="",
            )
        ],
        use=f"{name} = VALUE in recbench.toml",
    )
