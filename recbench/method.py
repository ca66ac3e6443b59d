"""The method protocol: `fit`, `load` and `rank`, the run they work in, and the traits of a method's class."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from recbench.base.extensions.points import Kind
from recbench.base.layout import OWN_STAGES
from recbench.base.progress import Reporter, Silent
from recbench.data import Requests, TrainingData
from recbench.errors import UsageError
from recbench.ranking import Ranking
from recbench.settings import LLMSettings
from recbench.stages import StageCache

Space = Mapping[str, Sequence[object] | Mapping[str, Sequence[object]]]
"""The values that `recbench tune` tries, by parameter, `train.lr` included: a sequence, or a sequence for
each backbone, or backbone class, by its name."""


class Stopped(BaseException):
    """Raised by a fit that was asked to stop, after saving its state: the same command continues it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentFit:
    """The finished fit of `sft` that a fit starts from, or learns from."""

    id: str
    workdir: Path
    trained_tokens: int
    """Of the parent and its own parents together."""
    llm: LLMSettings
    """The settings it was fitted with, and its paradigm's default ranker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The surroundings of one fit: its seed, its folder, the shared stages, its parent and its resources."""

    seed: int
    workdir: Path
    """All fitted state goes in here; nothing else may be written."""
    stages: StageCache
    """Shared where recbench made them; those that a third party's method makes are of this fit alone."""
    parent: ParentFit | None = None
    token_budget: int | None = None
    """Tokens that this fit may train on, where the regime gives every method the same total."""
    device: str = "cpu"
    threads: int = 0
    """CPU threads; 0 leaves the library's own choice."""
    offline: bool = False
    report: Reporter = field(default_factory=Silent)
    rank: int = 0
    """Number of this process among the processes that share the fit."""
    world_size: int = 1
    stop: Path | None = None
    """When this file appears, save state and raise Stopped."""
    module_command: Sequence[str] = (sys.executable, "-m")
    """Starts a Python module in a child that is guarded as this process is; the module's name and its
    arguments follow."""

    @property
    def main(self) -> bool:
        """Whether this process writes; the others only compute."""
        return self.rank == 0

    @property
    def needed_parent(self) -> ParentFit:
        """The parent. UsageError where the method's class did not ask for one."""
        if self.parent is None:
            raise UsageError(
                "the method needs a parent fit, and this run has none",
                why="its class declares neither starts_from = 'parent' nor uses_parent = True",
                fix="declare one of them in the class; a run built by hand takes parent=ParentFit(...)",
            )
        return self.parent

    def with_llm(self, llm: LLMSettings) -> LLMRun:
        """The same run with LLM settings, e.g. the parent's for a scorer that asks its parent."""
        return LLMRun(**{f.name: getattr(self, f.name) for f in fields(RunContext)}, llm=llm)

    def child_seed(self, purpose: str) -> int:
        """The seed for one purpose (`init`, `order`, `negatives`), independent of the others."""
        sequence = np.random.SeedSequence([self.seed, zlib.crc32(purpose.encode())])
        return int(sequence.generate_state(1, np.uint32)[0])

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator from `child_seed`."""
        return np.random.default_rng(self.child_seed(purpose))

    def own_stages(self) -> StageCache:
        """Stages of this fit alone, for results that depend on weights no other fit has."""
        return StageCache(self.workdir / OWN_STAGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRun(RunContext):
    """The run of an LLM method: a RunContext with the settings of its block."""

    llm: LLMSettings


class Method(Protocol):
    """A dataclass of hyperparameters with three verbs. An LLM method's `run` is an LLMRun.

    The harness ranks in a process of its own: it calls `fit` in one process, `load` and `rank` in another.
    """

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        """Train, and leave all state in `run.workdir`. After an interruption it is called there again."""
        ...

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        """Restore the state that `fit` left in `run.workdir`."""
        ...

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        """The k best items for each request, in the requests' order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What the harness must know of a method before it runs; class attributes of the same names."""

    version: int = 1
    """Raised whenever a number that the method produces can change."""
    kind: Literal["scorer", "llm"] = "scorer"
    stochastic: bool = True
    """False: one fit serves all seeds."""
    starts_from: Literal["base", "parent"] = "base"
    """`parent`: training starts from the weights of the block's fit of `sft`."""
    uses_parent: bool = False
    """The method starts from the base and yet learns from that fit, as SOFT and DLLM2Rec do. An instance may
    set it, where a parameter decides."""
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Defaults that the method changes, its own parameters and train settings as `train.lr`, by the name of a
    backbone's class, of a backbone, of a protocol, or of a recipe that users ask for as `preset=NAME`; each
    overrides those named before it here. A protocol's name is that of its recipe too; the key `preset=NAME`
    is for those alone who ask for it. `settings.layered` says how a key joins several conditions."""
    stages: int = 1
    """Optimisation stages of a fit, each of `train.epochs`. An instance may set it, where a parameter
    decides."""
    extensions: Mapping[str, Kind] = field(default_factory=dict)
    """The parameters that name something which other packages may bring, and its kind, as
    `{"negatives": "sampler"}`: what they name is then part of the identity of a run. Of LLM methods."""
    control: bool = False
    """Trained as long as the method that its parameter `as_` names, to show what longer training does; by
    default the method of its own distribution that starts from the parent and trains most steps."""
    tasks: bool = False
    """An LLM method that starts from the base and trains on all of `train.tasks`. One that starts from the
    parent has them by its parent."""
    space: Space = field(default_factory=dict)
    """Empty: the method cannot be tuned."""
    requires: tuple[str, ...] = ()
    """Top-level modules that the method imports beside the dependencies of its own distribution and of plain
    recbench, e.g. `("torch",)`."""
    trains_vocabulary: bool = True
    """False: an LLM method whose loss reads some tokens alone, as MSL's reads those that may follow. Its
    probabilities over the vocabulary are untrained, so that others refuse its fits as `--parent`."""
    rankers: tuple[str, ...] = ()
    """The rankers that an LLM method works with, e.g. `("ground",)`, its own choice first; empty: all."""
    extra: str = ""
    """The extra of recbench that installs them: `train` or `baselines`; empty where none does."""
    declines: Mapping[str, str] = field(default_factory=dict)
    """The checks of `recbench method check` that the method does not stand, by name, with the reasons."""

    @property
    def needs_parent(self) -> bool:
        return self.uses_parent or self.starts_from == "parent"


class LLMPlugin(Protocol):
    """What the harness asks of an LLM method's class before it runs, without importing torch."""

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        """Facts that identify a fit beside its settings: engine version, prompt and backbone digests.

        Reads this machine only; MissingError where the backbone is not on it."""
        ...

    @classmethod
    def fetch(cls, llm: LLMSettings) -> None:
        """Download the files that `identity` reads."""
        ...


def traits_of(method: type[Any] | Method) -> Traits:
    """The traits that a class, or a built method, declares; the defaults for the rest."""
    names = [f.name for f in fields(Traits)]
    return Traits(**{name: getattr(method, name) for name in names if hasattr(method, name)})
