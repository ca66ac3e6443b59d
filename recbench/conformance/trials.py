"""The trials of one method, each made when a check first asks for it, and what each of them told."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recbench.base.progress import Listener, Silent
from recbench.conformance.server import server
from recbench.conformance.toy_set import Ground
from recbench.conformance.trial import KILLED, MethodTrial
from recbench.data import Ints
from recbench.dataset.split import load_targets
from recbench.errors import RecbenchError
from recbench.method import Traits
from recbench.planning.description import describe
from recbench.planning.resolve import Resolved, Selection, resolve
from recbench.protocol import Phase
from recbench.ranking import Ranking
from recbench.results.bundle import read_arrays
from recbench.results.llm_record import llm_record
from recbench.settings import Paradigm

SECONDS = 90.0
"""How long a fit and the rankings of a trial may take."""
LOAD_SECONDS = 30.0
ALL_FORMS = ("plain", "reversed", "batches", "candidates", "other-candidates", "masked", "valid")
QUICK: Mapping[str, str] = {"train.epochs": "1"}
"""What makes the fit of a language model short."""
FEW_CODES = "8"


@dataclass(frozen=True, slots=True)
class Told:
    """What a trial told, and how it ended."""

    facts: Mapping[str, Any]
    marks: tuple[str, ...]
    """What the guard told of the method's own code."""
    failure: Mapping[str, str] | None
    """`what`, `why` and `fix`; None where the trial came to its end."""
    rankings: Mapping[str, Ranking] = field(default_factory=dict)
    refused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What failed, by the form in which a ranking was asked for."""
    killed: bool = False


class BlockedError(Exception):
    """A check cannot be made, because what it looks at failed elsewhere."""


class Trials:
    """The trials of `selection`, `NAME` or `NAME:key=value,...`, at `place`."""

    def __init__(
        self,
        selection: str,
        place: Ground,
        *,
        settings: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
        listener: Listener | None = None,
    ) -> None:
        self.selection = selection
        self.name = selection.partition(":")[0].partition("[")[0].strip()
        self.place = place
        self.seconds = seconds
        self._settings = dict(settings or {})
        self._listener = listener or Silent()
        place.trials.mkdir(exist_ok=True)
        self._out = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=place.trials))

    # what the method says of itself

    @cached_property
    def loaded(self) -> Told:
        """Its class, imported in a process of its own."""
        return self._run(self._trial("load", only="class"), min(self.seconds, LOAD_SECONDS), "loading")

    @cached_property
    def loss(self) -> Told:
        """Its pair loss on drawn batches."""
        assert self.resolved.llm is not None
        record = llm_record(self.resolved.llm)
        trial = self._trial("loss", only="loss", params=self.resolved.params, llm=record)
        return self._run(trial, min(self.seconds, LOAD_SECONDS), "its loss")

    @cached_property
    def resolved(self) -> Resolved:
        return self._resolved("semantic-id")

    @cached_property
    def traits(self) -> Traits:
        """BlockedError where the class cannot be loaded."""
        if self.loaded.failure is not None:
            raise BlockedError("its class cannot be loaded")
        return describe(self.name).traits

    @property
    def is_llm(self) -> bool:
        return self.traits.kind == "llm"

    # its fits

    @cached_property
    def first(self) -> Told:
        """A fit, and the plain ranking in the process that fitted."""
        return self._fit("first", forms=("plain",))

    @property
    def is_fitted(self) -> bool:
        return self.first.failure is None and "plain" in self.first.rankings

    def require_fit(self) -> None:
        """BlockedError where `first` has no plain ranking."""
        if not self.is_fitted:
            raise BlockedError("it does not fit and rank")

    @property
    def fitted(self) -> Told:
        """`first`, where `require_fit` raises nothing."""
        self.require_fit()
        return self.first

    @cached_property
    def fresh(self) -> Told:
        """All forms of requests, ranked by a fresh process from the folder of `first`."""
        self.require_fit()
        return self._fit("first", out="fresh", fit=False, forms=ALL_FORMS)

    @cached_property
    def again(self) -> Told:
        """The same fit in another folder, with stages of its own."""
        self.require_fit()
        return self._fit("again", stages="stages-again", forms=("plain",))

    @cached_property
    def other_seed(self) -> Told:
        self.require_fit()
        return self._fit("other-seed", seed=1, forms=("plain",))

    @cached_property
    def new_numbers(self) -> Told:
        """The same fit where the items have other numbers."""
        self.require_fit()
        return self._fit("new-numbers", new_numbers=self.numbers_seed, forms=("plain",))

    numbers_seed = 5

    @cached_property
    def order(self) -> Ints:
        """Item n of `new_numbers` is this item of the others."""
        return np.random.default_rng(self.numbers_seed).permutation(self.place.split.num_items)

    @cached_property
    def resumed(self) -> Told:
        """A fit that was killed half way where it reports progress, and then called again in its folder."""
        calls = self.fitted.facts.get("calls", 0)
        if calls:
            killed = self._fit("resumed", out="killed", kill_at=max(1, calls // 2))
            if not killed.killed:
                return killed
        else:
            self._fit("resumed", out="killed")
        return self._fit("resumed", forms=("plain",))

    def of_paradigm(self, paradigm: Paradigm) -> Told:
        return self.first if paradigm == "semantic-id" else self._fit(paradigm, paradigm, forms=("plain",))

    # the answers

    def targets(self, phase: Phase) -> Ints:
        return load_targets(self.place.split.folder, phase)

    # how a trial is run

    def _resolved(self, paradigm: Paradigm, method: str | None = None) -> Resolved:
        settings = {**QUICK, **self._settings}
        if paradigm == "semantic-id" and self.place.planted:
            settings = {"identifiers.codes": FEW_CODES, **settings}
        return resolve(
            Selection(
                method=method or self.selection,
                dataset=self.place.split.dataset,
                paradigm=paradigm,
                settings=settings if method or self.is_llm else {},
            )
        )

    def _fit(self, folder: str, paradigm: Paradigm = "semantic-id", *, out: str = "", **more: Any) -> Told:
        resolved = self.resolved if paradigm == "semantic-id" else self._resolved(paradigm)
        trial = self._trial(
            out or folder,
            folder=folder,
            params=resolved.params,
            llm=llm_record(resolved.llm) if self.is_llm and resolved.llm is not None else None,
            parent=self._parent(paradigm) if resolved.needs_parent else None,
            **more,
        )
        return self._run(trial, self.seconds, f"{out or folder}")

    def _parent(self, paradigm: Paradigm) -> Mapping[str, Any]:
        """The fit of `sft` that the method starts or learns from."""
        if paradigm not in self._parents:
            resolved = self._resolved(paradigm, "sft")
            assert resolved.llm is not None
            record = llm_record(resolved.llm)
            name = f"parent-{paradigm}"
            trial = self._trial(name, method="sft", folder=name, params=resolved.params, llm=record)
            told = self._run(trial, self.seconds, f"the parent of {paradigm}")
            if told.failure is not None:
                raise RecbenchError("the parent, sft, cannot be fitted", **_why(told.failure))
            self._parents[paradigm] = {
                "id": name,
                "workdir": str(trial.workdir),
                "trained_tokens": told.facts["tokens"],
                "llm": record,
            }
        return self._parents[paradigm]

    @cached_property
    def _parents(self) -> dict[Paradigm, Mapping[str, Any]]:
        return {}

    def _trial(self, out: str, **more: Any) -> MethodTrial:
        trial = MethodTrial(
            method=self.name,
            split=str(self.place.split.folder),
            cache=str(self.place.root.cache),
            closed=tuple(map(str, self.place.closed)),
            out=str(self._out / out),
            key=self._out.name,
        )
        return replace(trial, **more)

    def _run(self, trial: MethodTrial, seconds: float, stage: str) -> Told:
        out = Path(trial.out)
        out.mkdir(parents=True, exist_ok=True)
        file = out / "trial.json"
        file.write_text(json.dumps(asdict(trial)), encoding="utf-8")
        self._listener.progress(f"{self.name}: {stage}", 0, 1)
        libraries = trial.llm is not None or trial.parent is not None
        return _told(*server(language_models=libraries).run(file, seconds), trial, seconds)


def _why(failure: Mapping[str, str]) -> dict[str, str]:
    return {"why": " ".join(filter(None, (failure["what"], failure["why"]))), "fix": failure["fix"]}


def _told(lines: list[str], code: int | None, trial: MethodTrial, seconds: float) -> Told:
    facts: dict[str, Any] = {}
    marks: list[str] = []
    refused: dict[str, Mapping[str, str]] = {}
    failure: Mapping[str, str] | None = None
    for line in lines:
        found = json.loads(line)
        marks += [found["marks"]] if "marks" in found else []
        if "failed" in found:
            failure = found["failed"]
        elif "failed_form" in found:
            refused[found["form"]] = found["failed_form"]
        elif found.get("event") != "guard":
            facts |= found
    if failure is None and code is None:
        failure = _failure(f"it did not end within {seconds:g} s", "", "look for a loop that never ends")
    if failure is None and "done" not in facts:
        failure = _failure(f"its process ended with code {code}", "", "leave out what ends the process")
    files = {name: Path(trial.out) / f"{name}.npz" for name in trial.forms}
    rankings = {name: Ranking(**read_arrays(file), stats={}) for name, file in files.items() if file.exists()}
    return Told(facts, tuple(marks), failure, rankings, refused, killed=code == KILLED)


def _failure(what: str, why: str, fix: str) -> dict[str, str]:
    return {"what": what, "why": why, "fix": fix}
