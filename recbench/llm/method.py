"""The base of LLM methods: all verbs and the identity are written here, and a method writes `train`."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from recbench.base.words import gain_lines
from recbench.data import Ints, Requests, TrainingData
from recbench.method import LLMRun
from recbench.ranking import Ranking
from recbench.sequential.params import SASREC_VERSION, SASRecParams
from recbench.settings import LLMSettings

if TYPE_CHECKING:
    from recbench.llm.model.policy import Policy

ENGINE_VERSION = 3
"""Raised whenever a number that the engine produces can change."""


class LLMMethod(ABC):
    """A dataclass of hyperparameters derives from this and writes `train`.

    torch is imported when a fit or a ranking begins, so that listing methods stays quick.
    """

    kind: ClassVar[Literal["scorer", "llm"]] = "llm"
    starts_from: ClassVar[Literal["base", "parent"]] = "base"
    """`parent`: the fit of `sft` in the same block, trained once for all methods."""
    requires: ClassVar[tuple[str, ...]] = ("torch", "transformers", "trl", "peft", "accelerate", "sklearn")
    extra: ClassVar[str] = "train"
    trains: ClassVar[bool] = True
    """False: what `start` gives is ranked as it is, and no weights are saved."""

    @abstractmethod
    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        """Change `policy` in place, by one or more calls of `recbench.llm.train`."""

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        """Facts that decide a fit beside its settings: engine and identifier versions, prompts, backbone.

        UsageError for a chat template that the backbone does not have."""
        from recbench.llm.items import identifiers
        from recbench.llm.items.chat import no_template
        from recbench.llm.items.wordings import prompt_digest
        from recbench.llm.model.backbone import locate

        backbone = locate(llm.backbone)
        if llm.prompt.chat_template and not backbone.has_chat_template:
            raise no_template(llm.backbone)
        facts: dict[str, Any] = {
            "engine": ENGINE_VERSION,
            "prompt": prompt_digest(llm),
            "backbone_digest": backbone.digest,
        }
        if llm.paradigm == "semantic-id":
            facts["identifiers_version"] = identifiers.VERSION
        if llm.paradigm == "hybrid":
            facts["collaborative"] = cls.collaborative_identity()
        return facts

    @classmethod
    def fetch(cls, llm: LLMSettings) -> None:
        """Download the backbone."""
        from recbench.llm.model.backbone import fetch

        fetch(llm.backbone)

    @staticmethod
    def collaborative_identity() -> dict[str, Any]:
        """Facts of the SASRec that a fit reads or learns from; for `identity`."""
        return {"sasrec_version": SASREC_VERSION, **asdict(SASRecParams())}

    def start(self, data: TrainingData, run: LLMRun) -> Policy:
        """The policy to train: the backbone with the paradigm's tokens, or the parent's fitted policy."""
        from recbench.llm.model import policy as policies

        if self.starts_from == "base":
            return policies.start(data, run)
        return policies.restore(data, run, workdir=run.needed_parent.workdir, train=True)

    def fit(self, data: TrainingData, /, *, run: LLMRun) -> None:
        from recbench.llm.decoding.validation import validator
        from recbench.llm.model import policy as policies
        from recbench.llm.model.processes import begin
        from recbench.llm.training.budget import token_budget
        from recbench.llm.training.movement import Movement

        begin(run)
        policy = self.start(data, run)
        if policy.codes is not None:
            for line in gain_lines(policy.codes.digest, policy.codes.statistics):
                run.report.log(message=line)
        if not self.trains:
            if run.main:
                policies.write_facts(policy, run.workdir)
            return
        if run.llm.train.select == "best":
            policy.validate = validator(policy, data, run)
        movement = Movement.begin(policy, data)
        run = replace(run, token_budget=token_budget(policy, data, run))
        self.train(policy, data, run)
        if not run.main:
            return
        policy.save(run.workdir / "model")
        facts: dict[str, Any] = {"moved_nats": movement.since(policy)}
        if policy.selected:
            facts["selection"] = {
                stage: {"kept": one.kept, **asdict(one)} for stage, one in policy.selected.items()
            }
        if policy.tasks:
            facts["tasks"] = policy.tasks
        policies.write_facts(policy, run.workdir, **facts)
        for checkpoints in run.workdir.glob("checkpoints-*"):
            shutil.rmtree(checkpoints)
        shutil.rmtree(run.own_stages().root, ignore_errors=True)

    def load(self, data: TrainingData, /, *, run: LLMRun) -> None:
        from recbench.llm.model import policy as policies
        from recbench.llm.model.processes import begin

        begin(run)
        self._run = run
        self._data = data
        self._policy = policies.restore(data, run) if self.trains else self.start(data, run)

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        from recbench.llm.decoding.rank import rank

        return rank(self._policy, requests, data=self._data, k=k, run=self._run)

    def shares(self, requests: Requests, parts: int) -> list[Ints]:
        """The rows of `requests` that each of `parts` processes ranks; whole batches, dealt in turn."""
        from recbench.llm.decoding.rank import shares

        return shares(self._policy, requests, parts, run=self._run)
