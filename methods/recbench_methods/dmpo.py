"""DMPO: the mean of several random negatives in the place of one (arXiv 2405.16127)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.data import Ints, TrainingData
from recbench.llm.pair_method import PairMethod
from recbench.method import RunContext

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.examples import NextItem
    from recbench.llm.policy import Policy
    from recbench.llm.preference import PairBatch


@dataclass(kw_only=True)
class DMPO(PairMethod):
    """DPO of the chosen item's log-ratio against the mean log-ratio of its negatives.

    With one negative it is DPO. Form and averaging follow the paper; its public code has one negative, and
    a reference that cancels.
    """

    version: ClassVar[int] = 1

    negatives: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives < 1:
            raise ValueError("negatives must be at least 1")

    def reject(self, policy: Policy, examples: NextItem, data: TrainingData, run: RunContext) -> Ints:
        from recbench.llm.negatives import uniform

        del policy
        return uniform(examples, data, self.negatives, run)

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm.losses import dmpo

        return dmpo(pairs.pi_w, pairs.pi_l, pairs.ref_w, pairs.ref_l, pairs.mask, self.beta).loss
