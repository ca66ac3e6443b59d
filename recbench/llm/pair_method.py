"""The bases of pair methods: a pair method chooses its rejected items and gives a loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import Ints, TrainingData
from recbench.llm.method import LLMMethod
from recbench.method import LLMRun, Space
from recbench.ranges import Count, NotNegative

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.losses.pairs import PairBatch
    from recbench.llm.model.policy import Policy
    from recbench.llm.training.examples import NextItem

PREFERENCE_PRESETS: Mapping[str, Mapping[str, object]] = {
    "pretrained": {
        "train.epochs": 3.0,
        "train.lr": 1e-5,
        "train.warmup": 0.05,
        "train.schedule": "cosine",
        "train.weight_decay": 0.0,
        "train.max_grad_norm": 0.3,
    },
    "ilrec+pretrained": {"train.lr": 1e-5},
    "soft+pretrained": {"train.lr": 1e-4},
    # chosen on validation NDCG@10 of ml-100k; trials in benchmarks/tuning/
    "scratch": {"train.epochs": 1.0, "train.lr": 1e-4, "train.max_rows": 1024},
}
"""The preference stage of the code of S-DPO, the SOFT paper's learning rate, and what a model trained from
scratch takes. Preset `ilrec` is there to be asked for under another protocol."""
PREFERENCE_SPACE: Space = {
    "beta": (0.1, 0.5, 1.0),
    "train.lr": {"pretrained": (5e-6, 1e-5, 2e-5, 1e-4), "scratch": (3e-5, 1e-4, 3e-4, 1e-3)},
}
"""Learning rates: 1e-5 is S-DPO's, 2e-5 SPRec's, 1e-4 the SOFT paper's for every method."""


@dataclass(kw_only=True)
class PairMethod(LLMMethod):
    """A preference loss over pairs of a chosen and rejected items; the SFT parent is start and reference.

    `reject` is the sampler, `loss` the objective: any loss goes with any sampler.
    """

    starts_from: ClassVar[Literal["base", "parent"]] = "parent"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = PREFERENCE_PRESETS
    space: ClassVar[Space] = PREFERENCE_SPACE

    beta: NotNegative = 0.1
    """Scale of the log-ratios in the loss, 1/nat."""
    sft_weight: NotNegative = 0.0
    """Weight of an added cross-entropy of the chosen responses; 0 in all the papers."""

    def __post_init__(self) -> None:
        if self.beta < 0 or self.sft_weight < 0:
            raise ValueError("beta and sft_weight must not be negative")

    @abstractmethod
    def reject(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Ints:
        """[E, K] the rejected items of each example, -1 where there is none. Called once, before training."""

    @abstractmethod
    def loss(self, pairs: PairBatch) -> Tensor:
        """The mean loss over the B examples of a batch, a scalar."""

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm.signals.preference import train_on_pairs
        from recbench.llm.training.examples import next_item

        examples = next_item(policy.prompts, data, run)
        rejected = self.reject(policy, examples, data, run)
        train_on_pairs(policy, examples, rejected, self.loss, data=data, run=run, sft_weight=self.sft_weight)


@dataclass(kw_only=True)
class RandomNegatives(PairMethod):
    """Rejects items drawn uniformly, once for each example, outside its target and its history."""

    space: ClassVar[Space] = {**PREFERENCE_SPACE, "negatives": (3, 5)}

    negatives: Count = 5
    """Rejected items of an example; fewer where the catalogue has no more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives < 1:
            raise ValueError("negatives must be at least 1")

    def reject(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Ints:
        from recbench.llm.signals.negatives import uniform

        del policy
        return uniform(examples, data, self.negatives, run)
