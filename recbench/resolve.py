"""From what a user asked for to the identity of a run: names looked up, defaults filled in, values typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from recbench import params, registry
from recbench.errors import UsageError, unknown_name
from recbench.method import LLMPlugin
from recbench.protocol import EvalProtocol, get_protocol
from recbench.settings import (
    BACKBONES,
    IDENTIFIER_DEFAULTS,
    RANKERS,
    TRAIN_DEFAULTS,
    IdentifierSettings,
    LLMSettings,
    Ranker,
    TrainSettings,
    backbone_class,
)
from recbench.spec import FitSpec, Phase, RunSpec

SECTIONS: Mapping[str, type[Any]] = {"train": TrainSettings, "identifiers": IdentifierSettings}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """One run in the user's words."""

    method: str
    """`name` or `name:key=value,...`."""
    dataset: str
    backbone: str = "tiny"
    paradigm: str = "semantic-id"
    protocol: str = "ilrec"
    ranker: str = "exact"
    settings: Mapping[str, str] = field(default_factory=dict)
    """`--set`: `train.*`, `identifiers.*`, `ranker.*`."""
    seed: int = 0
    limit_users: int | None = None
    phase: Phase = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A selection with every name found and every value typed; only the data are still to come."""

    selection: Selection
    plugin: registry.Plugin
    params: Mapping[str, Any]
    changed: Mapping[str, Any]
    """The parameters, and the `train.*` settings, that differ from the method's defaults."""
    protocol: EvalProtocol
    llm: LLMSettings | None
    seed: int | None

    @property
    def label(self) -> str:
        """The name of a board's row: `ilrec`, or `ilrec[beta=0.2,train.epochs=3.0]`."""
        inside = ",".join(f"{key}={_text(value)}" for key, value in self.changed.items())
        return f"{self.plugin.name}[{inside}]" if inside else self.plugin.name

    def spec(self, digests: Mapping[str, str]) -> RunSpec:
        """The identity of this run on the split with those digests.

        Asks an LLM method's class for its `identity`, which may read the backbone's files. Titles and
        categories reach language models alone, so only their fits depend on the catalogue's digest.
        """
        llm = None
        if self.llm is not None:
            method: type[LLMPlugin] = self.plugin.cls
            llm = {
                **method.identity(self.llm),
                "catalogue": digests["catalogue"],
                "backbone": self.llm.backbone,
                "paradigm": self.llm.paradigm,
                "train": params.resolved(self.llm.train),
                "identifiers": params.resolved(self.llm.identifiers),
            }
        fit = FitSpec(
            method=self.plugin.name,
            method_version=self.plugin.traits.version,
            params=self.params,
            dataset=self.selection.dataset,
            split=digests["split"],
            limit_users=self.selection.limit_users,
            llm=llm,
            parent=None,
            seed=self.seed,
        )
        return RunSpec(
            fit=fit,
            ranker=None if self.llm is None else ranker_record(self.llm.ranker),
            protocol=self.protocol.evaluation_part(),
            phase=self.selection.phase,
        )


def resolve(selection: Selection) -> Resolved:
    """Raises UsageError for a name, key or value that does not exist, MissingError for a broken plugin."""
    name, values = params.parse_selection(selection.method)
    plugin = registry.load(name)
    if plugin.traits.starts_from == "parent":
        raise UsageError(
            f"method '{name}' starts from the fit of another method",
            why="this version of recbench runs methods that start from the base model only",
        )
    if selection.limit_users is not None and selection.limit_users < 1:
        raise UsageError(f"--limit-users {selection.limit_users} leaves nobody")
    built = params.resolved(plugin.build(values))
    changed = _changed(built, plugin.cls)
    protocol = get_protocol(selection.protocol)
    sections = split_settings(selection.settings)
    llm = llm_settings(selection, sections, presets=plugin.traits.presets)
    if plugin.traits.kind == "llm":
        default = _train({}, selection.backbone, plugin.traits.presets)
        changed |= {f"train.{k}": v for k, v in _differences(llm.train, default).items()}
    return Resolved(
        selection=selection,
        plugin=plugin,
        params=built,
        changed=changed,
        protocol=protocol,
        llm=llm if plugin.traits.kind == "llm" else None,
        seed=selection.seed if plugin.traits.stochastic else None,
    )


def split_settings(settings: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`{"train.lr": "1"}` as `{"train": {"lr": "1"}, ...}` with every section present."""
    sections: dict[str, dict[str, str]] = {name: {} for name in (*SECTIONS, "ranker")}
    for key, value in settings.items():
        section, dot, field_name = key.partition(".")
        if not dot:
            raise UsageError(
                f"--set {key}={value} does not say whose setting it is",
                why=f"known: {', '.join(f'{name}.*' for name in sections)}",
                mend=f"--set train.{key}={value}; a method's own parameters go beside its name: "
                f"-m METHOD:{key}={value}",
            )
        if section not in sections:
            raise unknown_name("group of settings", section, sections, mend="--set train.epochs=3")
        sections[section][field_name] = value
    return sections


def llm_settings(
    selection: Selection,
    sections: Mapping[str, Mapping[str, str]],
    *,
    presets: Mapping[str, Mapping[str, object]],
) -> LLMSettings:
    """Defaults of the backbone's class, then the method's presets, then the user's settings."""
    _check_backbone(selection.backbone)
    defaults = IDENTIFIER_DEFAULTS[backbone_class(selection.backbone)]
    # one model, one name: the long id of a backbone that has a short one would split identities
    short_names = {full: short for short, full in BACKBONES.items()}
    return LLMSettings(
        backbone=short_names.get(selection.backbone, selection.backbone),
        paradigm=params.coerce(
            selection.paradigm, get_type_hints(LLMSettings)["paradigm"], name="--paradigm"
        ),
        train=_train(sections["train"], selection.backbone, presets),
        identifiers=params.build(
            IdentifierSettings, {**defaults, **sections["identifiers"]}, what="identifiers"
        ),
        ranker=_ranker(selection.ranker, sections["ranker"]),
    )


def _check_backbone(name: str) -> None:
    """A word that is no short name, no folder and no `owner/model` would be looked for on the Hub."""
    if name not in BACKBONES and "/" not in name and not Path(name).expanduser().is_dir():
        mend = "recbench list backbones; or a Hugging Face id, OWNER/MODEL, or a local folder"
        raise unknown_name("backbone", name, BACKBONES, mend=mend)


def rebuild_llm_settings(spec: RunSpec) -> LLMSettings | None:
    """The settings that `spec` was made from; None for a method without a language model."""
    if spec.fit.llm is None or spec.ranker is None:
        return None
    ranker = dict(spec.ranker)
    name = ranker.pop("name")
    return LLMSettings(
        backbone=spec.fit.llm["backbone"],
        paradigm=spec.fit.llm["paradigm"],
        train=params.build(TrainSettings, spec.fit.llm["train"], what="train"),
        identifiers=params.build(IdentifierSettings, spec.fit.llm["identifiers"], what="identifiers"),
        ranker=params.build(RANKERS[name], ranker, what=name),
    )


def ranker_record(ranker: Ranker) -> dict[str, Any]:
    name = next(name for name, cls in RANKERS.items() if type(ranker) is cls)
    return {"name": name, **params.resolved(ranker)}


def _train(
    settings: Mapping[str, str], backbone: str, presets: Mapping[str, Mapping[str, object]]
) -> TrainSettings:
    kind = backbone_class(backbone)
    return params.build(
        TrainSettings, {**TRAIN_DEFAULTS[kind], **presets.get(kind, {}), **settings}, what="train"
    )


def _ranker(text: str, settings: Mapping[str, str]) -> Ranker:
    name, values = params.parse_selection(text)
    if name not in RANKERS:
        raise unknown_name("ranker", name, RANKERS, mend="--ranker exact")
    twice = sorted(values.keys() & settings.keys())
    if twice:
        raise UsageError(f"ranker.{twice[0]} is set by --ranker and by --set")
    ranker: Ranker = params.build(RANKERS[name], {**values, **settings}, what=name)
    return ranker


def _changed(built: Mapping[str, Any], cls: type[Any]) -> dict[str, Any]:
    try:
        default = params.resolved(cls())
    except TypeError:  # a parameter without a default is always worth naming
        return dict(built)
    return {key: value for key, value in built.items() if value != default[key]}


def _differences(one: TrainSettings, other: TrainSettings) -> dict[str, Any]:
    left, right = params.resolved(one), params.resolved(other)
    return {key: value for key, value in left.items() if value != right[key]}


def _text(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
