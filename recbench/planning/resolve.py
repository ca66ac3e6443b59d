"""From what a user asked for to the identity of a run: names looked up, defaults filled in, values typed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from recbench.base import params
from recbench.base.files import expanded
from recbench.base.weights import gguf
from recbench.errors import UsageError, unknown_name
from recbench.planning import recipes
from recbench.planning.description import Built, Description, describe
from recbench.planning.engine_choices import (
    OWN,
    SCORES,
    ranker_of,
    scheme_point,
    with_known_scheme,
)
from recbench.planning.plugins import extensions
from recbench.planning.plugins.extensions import IN_SPEC
from recbench.protocol import EvalProtocol, Phase, get_protocol
from recbench.results.llm_record import identity_of, llm_of, ranker_record
from recbench.results.spec import FitSpec, RunSpec
from recbench.settings import (
    BACKBONES,
    DEFAULT_RANKER,
    IDENTIFIER_DEFAULTS,
    IDENTIFIERS,
    TRAIN_DEFAULTS,
    LLMSettings,
    OutsideRanker,
    Paradigm,
    PromptSettings,
    Ranker,
    Regime,
    TrainSettings,
    for_backbone,
    layered,
)

REPOSITORY = re.compile(r"(?!.*(--|\.\.))\w[\w.-]*/\w[\w.-]*")
"""An id that the Hugging Face Hub accepts."""
SECTIONS = ("train", "identifiers", "prompt", "ranker")
PARENT = "sft"
"""The method whose fit is the parent of a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """One run as the user asked for it. The order of its settings does not matter."""

    method: str
    """`name` or `name:key=value,...`."""
    dataset: str
    backbone: str = "tiny"
    paradigm: str = "semantic-id"
    protocol: str = "ilrec"
    ranker: str | None = None
    """None: the paradigm's own."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """`--set`: `train.*`, `identifiers.*`, `prompt.*`, `ranker.*`, for every method of the command."""
    regime: str = "recipe"
    parent: str | None = None
    """Id of a fit to start from, instead of the block's own `sft`."""
    seed: int = 0
    limit_users: int | None = None
    phase: Phase = "test"

    def __hash__(self) -> int:
        values = (getattr(self, each.name) for each in fields(self))
        return hash(tuple(frozenset(v.items()) if isinstance(v, Mapping) else v for v in values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A selection with every name found and every value typed; only the data are still to come."""

    selection: Selection
    plugin: Description
    params: Mapping[str, Any]
    changed: Mapping[str, Any]
    """The parameters, and the `train.*` settings, that differ from the method's defaults."""
    protocol: EvalProtocol
    llm: LLMSettings | None
    """A scorer that needs a parent has the parent's."""
    needs_parent: bool
    seed: int | None

    @property
    def parent(self) -> Selection | None:
        """The run whose fit this one needs; None where it needs none, or where the user names a fit."""
        if not self.needs_parent or self.selection.parent is not None:
            return None
        return _parent_of(self.selection)

    @property
    def label(self) -> str:
        """The name of a board's row: `ilrec`, or `ilrec[beta=0.2,train.epochs=3.0]`."""
        inside = ",".join(f"{key}={params.as_text(value)}" for key, value in self.changed.items())
        return f"{self.plugin.name}[{inside}]" if inside else self.plugin.name

    @property
    def name(self) -> str:
        """For a list of runs: label, dataset, backbone and paradigm, seed."""
        engine = "" if self.llm is None else f" ({self.llm.backbone}, {self.llm.paradigm})"
        seed = "" if self.seed is None else f" seed {self.seed}"
        return f"{self.label} on {self.selection.dataset}{engine}{seed}"

    @property
    def _is_llm(self) -> bool:
        return self.plugin.traits.kind == "llm"

    def _ranker_record(self, ranker: Ranker) -> dict[str, Any]:
        record = ranker_record(ranker)
        return (
            {"name": OWN, "method": self.plugin.name, "engine": record}
            if self.plugin.ranks_itself
            else record
        )

    @property
    def llm_method(self) -> Description:
        """The LLM method: this one, or the one that a scorer learns from."""
        return self.plugin if self._is_llm else describe(PARENT, self.plugin.root)

    @property
    def extensions(self) -> dict[str, Any]:
        """The identities of what other packages bring to the fit, by the parameter or setting naming each."""
        named = dict(self.plugin.extensions(self.params)) if self._is_llm else {}
        scheme = None if self.llm is None else scheme_point(self.llm)
        named |= {} if scheme is None else {"identifiers": scheme}
        return {role: extensions.identity_of(point, self.plugin.root) for role, point in named.items()}

    @property
    def distributions(self) -> list[str]:
        """The packages that bring the method and what it names."""
        ranker = None if self.llm is None else self.llm.ranker
        ranks = [ranker.distribution] if isinstance(ranker, OutsideRanker) else []
        brought = [one["distribution"] for one in self.extensions.values()]
        return [self.plugin.distribution, *brought, *ranks]

    def spec(self, digests: Mapping[str, str], *, parent: str | None = None) -> RunSpec:
        """The identity of this run on the split with those digests, and with that parent's fit.

        Asks an LLM method's class for its `identity`, which may read the backbone's files. Titles and
        categories reach language models alone, so only their fits depend on the catalogue's digest.
        """
        llm, ranker = None, None
        if self.llm is not None:
            ranker = self._ranker_record(self.llm.ranker) if self._is_llm else SCORES
            llm = {
                **self.llm_method.identity(self.llm),
                "catalogue": digests["catalogue"],
                "backbone": self.llm.backbone,
                "paradigm": self.llm.paradigm,
                "train": identity_of(self.llm.train),
                "identifiers": params.resolved(self.llm.identifiers),
            }
            if self.llm.train.select == "best":
                llm["selected_by"] = ranker_record(self.llm.ranker)
            if self.extensions:
                llm[IN_SPEC] = self.extensions
            if self.llm.prompt.chat_template:  # fits from before there was a choice have no such key
                llm["chat_template"] = True
        fit = FitSpec(
            method=self.plugin.name,
            method_version=self.plugin.traits.version,
            params=self.params,
            dataset=self.selection.dataset,
            split=digests["split"],
            limit_users=self.selection.limit_users,
            llm=llm,
            parent=parent,
            seed=self.seed,
        )
        return RunSpec(
            fit=fit,
            ranker=ranker,
            protocol=self.protocol.evaluation_part(),
            phase=self.selection.phase,
        )


def resolve(selection: Selection, root: Path | None = None) -> Resolved:
    """Raises UsageError for a name, key or value that does not exist, MissingError for a broken plugin.

    `root` is that of the data, as for `describe`.
    """
    name, values = params.parse_selection(selection.method)
    plugin = describe(name, root)
    recipe = [] if recipes.PRESET in plugin.parameters else [values.pop(recipes.PRESET, "")]
    own, train = _split_train(values)
    if selection.limit_users is not None and selection.limit_users < 1:
        raise UsageError(f"--limit-users {selection.limit_users} leaves nobody")
    protocol = get_protocol(selection.protocol)
    place = {"backbone": selection.backbone, "paradigm": selection.paradigm}
    names = [key for name in recipe if name for key in recipes.chosen(plugin, name, **place)]
    preset, default_train = _preset(plugin, selection)
    asked_preset, asked_train = _preset(plugin, selection, *names)
    sections = split_settings(selection.settings)
    if plugin.traits.control:
        check_backbone(selection.backbone)
        preset = {recipes.FOLLOWED: _longest(plugin, selection)}
        asked_preset = {**preset, **own}
        leader = replace(selection, method=recipes.followed(plugin, asked_preset[recipes.FOLLOWED]).name)
        plain = replace(leader, settings={})
        default_train, asked_train = _as_control(plain, root), _as_control(leader, root)
        sections["train"] = {}  # the leader has them
    built = plugin.build({**asked_preset, **own})
    changed = _changed(built, plugin, preset)
    works_with = plugin.traits.rankers if plugin.traits.kind == "llm" else ()
    asked = llm_settings(selection, sections, preset=asked_train, own=train, rankers=works_with, root=root)
    llm = parent = resolve(_parent_of(selection), root).llm if built.needs_parent else None
    if plugin.traits.kind == "llm":
        llm = asked
        default = _train(selection, default_train, {"budget_epochs": llm.train.budget_epochs})
        changed |= {f"train.{k}": v for k, v in _differences(llm.train, default).items()}
        recipes.check_tasks(plugin, llm, parent=parent)
    elif train:
        raise UsageError(f"'{name}' has no setting train.{next(iter(train))}", why="it is no language model")
    return Resolved(
        selection=selection,
        plugin=plugin,
        params=built.params,
        changed=changed,
        protocol=protocol,
        llm=llm,
        needs_parent=built.needs_parent,
        seed=selection.seed if plugin.traits.stochastic else None,
    )


def _parent_of(selection: Selection) -> Selection:
    # a parent is trained by its recipe also where the budget of what follows is set by tokens
    return replace(selection, method=PARENT, regime="recipe")


def _preset(plugin: Description, selection: Selection, *recipe: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the method's presets make of its parameters and of the train settings."""
    where = (selection.backbone, selection.paradigm, selection.protocol, *recipe)
    return _split_train(layered(plugin.traits.presets, *where, dataset=selection.dataset))


def _longest(control: Description, selection: Selection) -> str:
    """The preference method with the most steps by its recipe, on a dataset of many rows; of equal ones the
    first by name."""
    plain = replace(selection, settings={}, regime="recipe")
    names = [plugin.name for plugin in recipes.preference_methods(control) if not plugin.required]
    if not names:
        raise UsageError(
            f"'{control.name}' has no method to train as", fix=f"-m {control.name}:{recipes.FOLLOWED}=NAME"
        )
    steps = {name: steps_of(resolve(replace(plain, method=name), control.root)) for name in names}
    return max(names, key=lambda name: steps[name])


def steps_of(run: Resolved, rows: int = recipes.MANY_ROWS) -> int:
    """Optimiser steps of a run with a language model, by the epochs of its recipe."""
    assert run.llm is not None
    return recipes.num_steps(run.llm.train, run.plugin.build(run.params).stages, rows)


def _as_control(leader: Selection, root: Path | None) -> dict[str, Any]:
    run = resolve(leader, root)
    assert run.llm is not None
    return recipes.as_control(params.resolved(run.llm.train), run.plugin.build(run.params).stages)


def _split_train(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A method's own parameters, and the train settings among them: `train.lr` as `lr`."""
    own = {key: value for key, value in values.items() if not key.startswith("train.")}
    return own, {key.removeprefix("train."): value for key, value in values.items() if key not in own}


def split_settings(settings: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`{"train.lr": "1"}` as `{"train": {"lr": "1"}, ...}` with every section present."""
    sections: dict[str, dict[str, str]] = {name: {} for name in SECTIONS}
    for key, value in settings.items():
        section, dot, field_name = key.partition(".")
        if not dot:
            raise UsageError(
                f"--set {key}={value} does not say whose setting it is",
                why=f"known: {', '.join(f'{name}.*' for name in sections)}",
                fix=f"--set train.{key}={value}; a method's own parameters go beside its name: "
                f"-m METHOD:{key}={value}",
            )
        if section not in sections:
            raise unknown_name("group of settings", section, sections, fix="--set train.epochs=3")
        sections[section][field_name] = value
    return sections


def llm_settings(
    selection: Selection,
    sections: Mapping[str, Mapping[str, str]],
    *,
    preset: Mapping[str, object],
    own: Mapping[str, object],
    rankers: Sequence[str] = (),
    root: Path | None = None,
) -> LLMSettings:
    """Defaults of the backbone's class, then the method's `preset`, then the user's settings for all
    methods, then those given with this method, `own`.

    UsageError for a ranker that is none of `rankers`, where the method names those that it works with; its
    first is the default where the paradigm's is none of them."""
    check_backbone(selection.backbone)
    paradigm: Paradigm = params.coerce(selection.paradigm, Paradigm, name="--paradigm")
    regime: Regime = params.coerce(selection.regime, Regime, name="--regime")
    # one model, one name: the long id of a backbone that has a short one would split identities
    short_names = {full: short for short, full in BACKBONES.items()}
    identifiers = {
        **for_backbone(IDENTIFIER_DEFAULTS, selection.backbone, {}).get(paradigm, {}),
        **sections["identifiers"],
    }
    return LLMSettings(
        backbone=short_names.get(selection.backbone, selection.backbone),
        paradigm=paradigm,
        train=_train(selection, preset, _budget(regime, selection), sections["train"], own),
        identifiers=with_known_scheme(
            params.build(IDENTIFIERS[paradigm], identifiers, what="identifiers"), root
        ),
        prompt=params.build(PromptSettings, sections["prompt"], what="prompt"),
        ranker=ranker_of(
            selection.ranker,
            sections["ranker"],
            paradigm,
            works_with=rankers,
            method=selection.method,
            root=root,
        ),
    )


def _budget(regime: Regime, selection: Selection) -> dict[str, object]:
    """In the regime `equal-tokens`, twice the epochs that `sft` has by its recipe, shared with the parent."""
    if regime == "recipe":
        return {}
    _, recipe = _preset(describe(PARENT), selection)
    return {"budget_epochs": 2 * _train(selection, recipe).epochs}


def check_backbone(name: str) -> None:
    """UsageError for what is no short name, no folder and no `owner/model`; the Hub would be asked for it.

    A name that ends in `.gguf` is a file: MissingError where it, or what reads it, is not here.
    """
    if gguf.names_file(name):
        gguf.find(name)
    elif not (name in BACKBONES or expanded(name).is_dir() or REPOSITORY.fullmatch(name)):
        fix = "recbench list backbones; or a Hugging Face id, OWNER/MODEL, a local folder or a .gguf file"
        raise unknown_name("backbone", name, BACKBONES, fix=fix)


def rebuild_llm_settings(spec: RunSpec) -> LLMSettings | None:
    """The settings that `spec` was made from; None for a method without a language model."""
    if spec.fit.llm is None or spec.ranker is None:
        return None
    paradigm: Paradigm = spec.fit.llm["paradigm"]
    ranker = dict(spec.ranker["engine"] if spec.ranker["name"] == OWN else spec.ranker)
    name = ranker.pop("name")
    if name == SCORES["name"]:
        name = DEFAULT_RANKER[paradigm]
    return llm_of(
        {
            **{key: spec.fit.llm[key] for key in ("backbone", "paradigm", "train", "identifiers")},
            "prompt": {"chat_template": spec.fit.llm.get("chat_template", False)},
            "ranker": {"name": name, **ranker},
        }
    )


def _train(selection: Selection, *layers: Mapping[str, object]) -> TrainSettings:
    """The defaults of backbone and paradigm with `layers` on top, the last one uppermost."""
    values = layered(TRAIN_DEFAULTS, selection.backbone, selection.paradigm)
    for layer in layers:
        values |= layer
    return params.build(TrainSettings, values, what="train")


def _changed(built: Built, plugin: Description, preset: Mapping[str, Any]) -> dict[str, Any]:
    required = {key: built.params[key] for key in plugin.required}  # always worth naming
    default = plugin.build({**required, **preset}).params
    return {key: value for key, value in built.params.items() if key in required or value != default[key]}


def _differences(settings: TrainSettings, other: TrainSettings) -> dict[str, Any]:
    left, right = params.resolved(settings), params.resolved(other)
    return {key: value for key, value in left.items() if value != right[key]}
