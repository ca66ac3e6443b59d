"""The base of on-policy methods: the policy's own responses in groups, and a reward that a method gives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import TrainingData
from recbench.errors import DataError, UsageError
from recbench.llm.method import LLMMethod
from recbench.method import LLMRun, Space
from recbench.ranges import Count, NotNegative, Positive, Share, Whole

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.model.policy import Policy
    from recbench.llm.rollout.groups import ResponseGroups
    from recbench.llm.rollout.rollouts import Reward
    from recbench.llm.training.examples import NextItem

ON_POLICY_PRESETS: Mapping[str, Mapping[str, object]] = {
    "pretrained": {
        "train.epochs": 1.0,
        "train.lr": 1e-5,
        "train.batch": 32,
        "train.warmup": 0.03,
        "train.schedule": "cosine",
        "train.weight_decay": 0.0,
        "train.max_grad_norm": 0.3,
    },
    "scratch": {"train.epochs": 1.0, "train.lr": 1e-5, "train.max_rows": 1024},
}
"""ReRe's code, which has 32 prompts a step; on a model trained from scratch the rows of pair methods."""


@dataclass(kw_only=True)
class OnPolicyMethod(LLMMethod):
    """Groups of the policy's own responses to each training prompt, weighted by a reward's advantages.

    L = -mean of min(r A, clip(r) A) - beta KL, with r the ratio to the weights that made a group, A its
    rewards less their mean over their deviation, and the SFT parent as start and reference. With
    `refresh=1` r is always 1: signed weighted SFT on the policy's best answers.
    """

    starts_from: ClassVar[Literal["base", "parent"]] = "parent"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = ON_POLICY_PRESETS
    """ReRe's code, with one epoch of its two; `scratch` has the rows of pair methods. Eight trials of a seed,
    benchmarks/tuning/rere-ml-100k.jsonl, gave no reason to change it."""
    space: ClassVar[Space] = {
        "beta": (0.0, 1e-3, 4e-2),
        "train.lr": {"pretrained": (5e-6, 1e-5, 2e-5), "scratch": (1e-5, 3e-5, 1e-4, 3e-4)},
        "train.max_rows": {"pretrained": (0,), "scratch": (256, 1024)},
    }

    group_size: Count = 16
    """Responses to a prompt; fewer where the catalogue has no more identifiers."""
    groups: Literal["exact", "beam", "sample", "dynamic"] = "exact"
    """Where they come from. `exact`: the policy's best, by certified search. `beam`: a beam as wide as the
    group. `sample`: draws under the trie. `dynamic`: half as many draws again, of which the target's are kept
    first, then one of each other item in turn, by falling frequency (ReRe)."""
    temperature: Positive = 1.0
    """Of draws."""
    mask_history: bool = False
    """Whether items of the history are no responses; in the code of ReRe they are some."""
    refresh: Count = 1
    """Optimiser steps that train on groups made together; above 1 the ratio is no longer 1 and is clipped."""
    clip: Share = 0.2
    """How far from 1 a ratio may be and still pull further."""
    beta: NotNegative = 1e-3
    """Weight of the divergence from the reference, in the estimator e^d - d - 1; 0: no reference is read."""
    mean_of: Literal["sequence", "token", "gspo"] = "sequence"
    """`sequence`: the mean over responses of their means over tokens. `token`: over all tokens. `gspo`: as
    `sequence`, with one ratio for a response."""
    skip_flat: bool = False
    """Whether groups of equal rewards, which have nothing but the divergence, are left out of the mean."""
    sync: Whole = 0
    """Steps after which 0.6 of the policy is mixed into the reference, 512 in ReRe's code; 0: never. With
    `train.lora_rank=0` alone, since a mean of adapters' factors is no mean of weights."""

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise UsageError(
                "a group of one response has no advantage",
                why="an advantage compares the rewards of the responses to one prompt",
                fix="group_size=16",
            )
        if self.groups in ("exact", "beam") and self.temperature != 1:
            raise UsageError(
                f"groups={self.groups} draws nothing, so temperature={self.temperature:g} has no use",
                fix="groups=sample",
            )

    @abstractmethod
    def make_reward(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Reward:
        """The function that gives the rewards [P, G] of groups; asked for once, before training."""

    def advantage(self, groups: ResponseGroups, rewards: Tensor) -> Tensor:
        """[P, G] the advantages of groups with these rewards."""
        from recbench.llm.losses.groups import group_advantages

        return group_advantages(rewards, groups.found)

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm.rollout.groups import Ask
        from recbench.llm.rollout.objective import GroupObjective
        from recbench.llm.rollout.rollouts import RolloutPlan, Rollouts
        from recbench.llm.training.examples import next_item
        from recbench.llm.training.trainer import train

        self._refuse(policy, run)
        examples = next_item(policy.prompts, data, run)
        objective = GroupObjective(beta=self.beta, clip=self.clip, mean_of=self.mean_of)
        plan = RolloutPlan(
            ask=Ask(self.groups, self.group_size, self.temperature, self.mask_history),
            refresh=self.refresh,
            sync=self.sync,
            skip_flat=self.skip_flat,
            precision=run.llm.train.precision,
            seed=run.child_seed("rollouts"),
        )
        rollouts = Rollouts(
            policy,
            examples,
            objective,
            plan,
            reward=self.make_reward(policy, examples, data, run),
            advantage=self.advantage,
        )
        train(policy, rollouts, objective, settings=run.llm.train, run=run)

    def _refuse(self, policy: Policy, run: LLMRun) -> None:
        """UsageError for settings that go with no rollouts, DataError for identifiers without a choice."""
        settings = run.llm.train
        if settings.sharding != "none":
            raise UsageError(
                "on-policy training does not go with sharded weights",
                why="each process searches with its own whole copy between two steps",
                fix="--set train.sharding=none",
            )
        if self.sync and settings.lora_rank:
            raise UsageError(
                f"sync={self.sync} does not go with LoRA",
                why="a mean of two adapters' factors is no mean of the weights that they stand for",
                fix="sync=0, or --set train.lora_rank=0",
            )
        if int(policy.trie.num_children.max()) < 2:
            raise DataError(
                "no node of the trie has two children, so that a prompt has one response",
                why="every item has the same identifier, or there is one item",
                fix="--set identifiers.collisions=resolve, or other identifiers",
            )
