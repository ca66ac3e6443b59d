"""DPO with one random negative (arXiv 2305.18290)."""

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
class DPO(PairMethod):
    """Direct preference optimisation against one item drawn from the catalogue."""

    version: ClassVar[int] = 1

    def reject(self, policy: Policy, examples: NextItem, data: TrainingData, run: RunContext) -> Ints:
        from recbench.llm.negatives import uniform

        del policy
        return uniform(examples, data, 1, run)

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm.losses import dpo

        return dpo(pairs.pi_w, pairs.pi_l[:, 0], pairs.ref_w, pairs.ref_l[:, 0], self.beta).loss
