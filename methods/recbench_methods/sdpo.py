"""S-DPO: softmax preference over several random negatives (arXiv 2406.09215)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.data import Ints, TrainingData
from recbench.llm.pair_method import PREFERENCE_PRESETS, PairMethod
from recbench.method import RunContext

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.examples import NextItem
    from recbench.llm.policy import Policy
    from recbench.llm.preference import PairBatch


@dataclass(kw_only=True)
class SDPO(PairMethod):
    """The chosen item against all its negatives in one softmax of log-ratios; with one negative it is DPO.

    The negatives are drawn once, as the authors' code does from its candidate lists: 3 there, 5 in ILRec's
    comparison.
    """

    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {**PREFERENCE_PRESETS, "soft": {"negatives": 3}}

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
        from recbench.llm.losses import sdpo

        return sdpo(pairs.pi_w, pairs.pi_l, pairs.ref_w, pairs.ref_l, pairs.mask, self.beta).loss
