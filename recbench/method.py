"""What a method is: two verbs that every one has, and a third by which a fresh process continues."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from recbench.base.progress import Reporter, Silent
from recbench.data import Requests, TrainingData
from recbench.ranking import Ranking
from recbench.settings import LLMSettings
from recbench.stages import StageCache

Space = Mapping[str, Sequence[object] | Mapping[str, Sequence[object]]]
"""The values that `recbench tune` tries, by parameter, also `train.lr`: a sequence, or one for each class of
backbones by its name."""


class Stopped(BaseException):
    """Raised out of a fit that was asked to stop, when its state is saved: the same command continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentFit:
    """The finished fit that this one starts from, or learns from."""

    id: str
    workdir: Path
    trained_tokens: int
    """Its own and its parents'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The world of one fit: its seed, its folder, its shared stages, and the settings of its block."""

    seed: int
    workdir: Path
    """All fitted state goes in here; nothing else may be written but shared stages."""
    stages: StageCache
    llm: LLMSettings | None = None
    """None for methods that use no language model; of the parent for a scorer that learns from one."""
    parent: ParentFit | None = None
    token_budget: int | None = None
    """Tokens that this fit may train on, where the regime gives every method the same total."""
    device: str = "cpu"
    threads: int = 0
    """CPU threads; 0 leaves the library's own choice."""
    offline: bool = False
    report: Reporter = field(default_factory=Silent)
    rank: int = 0
    """Which of the processes that share this fit this one is."""
    world_size: int = 1
    stop: Path | None = None
    """A file by whose appearance the fit is asked to save its state and raise Stopped."""

    @property
    def main(self) -> bool:
        """Whether this process writes; the others only compute."""
        return self.rank == 0

    def child_seed(self, purpose: str) -> int:
        """A seed for one purpose (`init`, `order`, `negatives`), independent of the other purposes'."""
        sequence = np.random.SeedSequence([self.seed, zlib.crc32(purpose.encode())])
        return int(sequence.generate_state(1, np.uint32)[0])

    def own_stages(self) -> StageCache:
        """Stages of this fit alone, for what depends on weights that no other fit has."""
        return StageCache(self.workdir / "stages")

    def rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng(self.child_seed(purpose))


class Method(Protocol):
    """A dataclass of hyperparameters with these verbs. The harness always ranks in a fresh process:
    `fit` there, `load` and `rank` here."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        """Train, and leave all state in `run.workdir`. Called again there after an interruption."""
        ...

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        """Restore what `fit` left in `run.workdir`."""
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
    """False: one fit for all seeds."""
    starts_from: Literal["base", "parent"] = "base"
    """`parent`: the weights of the block's fit of `sft`."""
    uses_parent: bool = False
    """Whether it needs that fit all the same, to learn from (as SOFT does). A scorer that does is given the
    fit's settings as `run.llm`. A built method may say other than its class, where a parameter decides."""
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Defaults that the method changes under a protocol or for a class of backbones, by the name of either:
    its own parameters, and train settings as `train.lr`. The backbone's come on top of the protocol's."""
    space: Space = field(default_factory=dict)
    """Empty: the method cannot be tuned."""

    @property
    def needs_parent(self) -> bool:
        return self.uses_parent or self.starts_from == "parent"


class LLMPlugin(Protocol):
    """What the harness asks of an LLM method's class before it runs, without importing torch."""

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        """Facts that identify a fit beside its settings: engine version, prompt and backbone digests.

        Asks nobody; MissingError where the backbone is not on this machine."""
        ...

    @classmethod
    def fetch(cls, llm: LLMSettings) -> None:
        """Bring here what `identity` reads."""
        ...


def traits_of(method: type[Any] | Method) -> Traits:
    names = ("version", "kind", "stochastic", "starts_from", "uses_parent", "presets", "space")
    return Traits(**{name: getattr(method, name) for name in names if hasattr(method, name)})
