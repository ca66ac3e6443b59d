"""What a method inherits that learns from pairs: it names its rejected items and its loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import Ints, TrainingData
from recbench.llm.method import LLMMethod
from recbench.method import LLMRun, Space

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.model.policy import Policy
    from recbench.llm.signals.preference import PairBatch
    from recbench.llm.training.examples import NextItem

PREFERENCE_PRESETS: Mapping[str, Mapping[str, object]] = {
    "pretrained": {"train.epochs": 3.0, "train.lr": 1e-5},
    # chosen on validation NDCG@10 of ml-100k; trials in benchmarks/tuning/
    "tiny": {"train.epochs": 1.0, "train.lr": 1e-4, "train.max_rows": 1024},
}
"""The preference stage of the S-DPO and ILRec papers, and what stands in for it on the tiny backbone."""
PREFERENCE_SPACE: Space = {
    "beta": (0.1, 0.5, 1.0),
    "train.lr": {"pretrained": (5e-6, 1e-5, 2e-5, 1e-4), "tiny": (3e-5, 1e-4, 3e-4, 1e-3)},
}
"""1e-5 is S-DPO's learning rate, 2e-5 SPRec's, 1e-4 what the SOFT paper gives every method."""


@dataclass(kw_only=True)
class PairMethod(LLMMethod):
    """Starts from the SFT parent, which is also its reference."""

    starts_from: ClassVar[Literal["base", "parent"]] = "parent"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = PREFERENCE_PRESETS
    space: ClassVar[Space] = PREFERENCE_SPACE

    beta: float = 0.1
    """Scale of the log-ratios in the loss, 1/nat."""
    sft_weight: float = 0.0
    """Adds so much cross-entropy of the chosen responses; none of the papers does."""

    def __post_init__(self) -> None:
        if self.beta < 0 or self.sft_weight < 0:
            raise ValueError("beta and sft_weight must not be negative")

    @abstractmethod
    def reject(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Ints:
        """[E, K] the rejected items of each example; -1 where there is none."""

    @abstractmethod
    def loss(self, pairs: PairBatch) -> Tensor:
        """The mean loss over the examples of a batch."""

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm.signals.preference import train_on_pairs
        from recbench.llm.training.examples import next_item

        examples = next_item(policy.prompts, data, run)
        rejected = self.reject(policy, examples, data, run)
        train_on_pairs(policy, examples, rejected, self.loss, data=data, run=run, sft_weight=self.sft_weight)


@dataclass(kw_only=True)
class RandomNegatives(PairMethod):
    """Rejects items drawn from the catalogue, once for each example, without its target and history."""

    space: ClassVar[Space] = {**PREFERENCE_SPACE, "negatives": (3, 5)}

    negatives: int = 5
    """Fewer where the catalogue has no more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives < 1:
            raise ValueError("negatives must be at least 1")

    def reject(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Ints:
        from recbench.llm.signals.negatives import uniform

        del policy
        return uniform(examples, data, self.negatives, run)
