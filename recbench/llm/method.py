"""What every LLM method inherits: identity, start, save, restore and rank. Its own idea is `train`."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.ranking import Ranking
from recbench.settings import LLMSettings as LLMSettings
from recbench.settings import backbone_class

if TYPE_CHECKING:
    from recbench.llm.policy import Policy

ENGINE_VERSION = 1
"""Raised whenever a number that the engine produces can change."""


class LLMMethod(ABC):
    """A dataclass of hyperparameters derives from this and writes `train`. torch is imported only when a
    fit or a ranking begins, so that listing methods stays quick."""

    kind: ClassVar[Literal["scorer", "llm"]] = "llm"

    @abstractmethod
    def train(self, policy: Policy, data: TrainingData, run: RunContext) -> None:
        """Change `policy` in place: one or more calls of `recbench.llm.trainer.train`."""

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        """What decides a fit beside its settings: versions of engine and identifiers, prompt, backbone."""
        from recbench.llm import identifiers
        from recbench.llm.backbone import locate
        from recbench.llm.prompts import TEMPLATES

        return {
            "engine": ENGINE_VERSION,
            "identifiers_version": identifiers.VERSION,
            "prompt": TEMPLATES[backbone_class(llm.backbone)].digest,
            "backbone_digest": locate(llm.backbone, offline=False).digest,
        }

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        from recbench.llm import policy as policies

        policies.set_threads(run.threads)
        policy = policies.start(data, run)
        self.train(policy, data, run)
        policy.save(run.workdir / "model")
        policies.write_facts(policy, run.workdir)
        for checkpoints in run.workdir.glob("checkpoints-*"):
            shutil.rmtree(checkpoints)

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        from recbench.llm import policy as policies

        policies.set_threads(run.threads)
        self._run = run
        self._policy = policies.restore(data, run)

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        from recbench.llm.rank import rank

        assert self._run.llm is not None
        return rank(self._policy, requests, self._run.llm.ranker, k=k, report=self._run.report)
