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
OF_FILE = "recbench.toml"


def names() -> list[str]:
    """All of them, each once; `ranker.width` belongs to several rankers."""
    return list(dict.fromkeys(name for name, _, _ in _every()))


def groups() -> Mapping[str, list[str]]:
    """The names by group, for lists."""
    found: dict[str, list[str]] = {}
    for name in names():
        group, dot, _ = name.partition(".")
        found.setdefault(group if dot else OF_FILE, []).append(name)
    return found


def entries(name: str, root: Path | None = None) -> list[NamedEntry]:
    """An entry for each owner of the setting: `identifiers.max_tokens` has that of the paradigm `title`."""
    return [_entry(known, owner, one, root) for known, owner, one in _every() if known == name]


def rows() -> list[dict[str, Any]]:
    """A line for each setting and owner. No method is asked."""
    order = names()
    return [
        {
            "name": name,
            "type": one.type,
            "allowed": one.allowed,
            "default": "none" if one.default is None else one.default,
            "of": owner,
            "about": one.meaning,
        }
        for name, owner, one in sorted(_every(), key=lambda found: order.index(found[0]))
    ]


def _every() -> Iterator[tuple[str, str, FieldDoc]]:
    """Name, owner, and the setting."""
    for one in documented(TrainSettings):
        yield f"train.{one.name}", "every LLM method", one
    for paradigm, fields in IDENTIFIERS.items():
        for one in documented(fields):
            yield f"identifiers.{one.name}", f"paradigm {paradigm}", one
    for one in documented(PromptSettings):
        yield f"prompt.{one.name}", "every LLM method", one
    for ranker, options in RANKERS.items():
        for one in documented(options):
            yield f"ranker.{one.name}", f"ranker {ranker}", one
    for name in DEFAULTS:
        yield name, OF_FILE, _of_root(name)


def _entry(name: str, owner: str, one: FieldDoc, root: Path | None) -> NamedEntry:
    group = name.partition(".")[0]
    facts: dict[str, Any] = {"of": owner}
    if owner == OF_FILE:
        facts["variable"] = f"RECBENCH_{name.upper()}"
    elif group == "train":
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
    elif group == "identifiers":
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
        use=f"{name} = VALUE in {OF_FILE}" if owner == OF_FILE else f"recbench run ... --set {name}=VALUE",
    )


def _of_root(name: str) -> FieldDoc:
    kind, meaning = OF_ROOT[name]
    return FieldDoc(
        name=name,
        type=kind,
        allowed=GUARDS if name == "guard" else "",
        default=DEFAULTS[name],
        required=False,
        meaning=meaning,
        place="",
    )
