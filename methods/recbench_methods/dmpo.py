"""DMPO: the mean of several random negatives in the place of one (arXiv 2405.16127)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.llm.pair_method import RandomNegatives

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.signals.preference import PairBatch


@dataclass(kw_only=True)
class DMPO(RandomNegatives):
    """DPO of the chosen item's log-ratio against the mean log-ratio of its negatives.

    With one negative it is DPO. Its public code has one negative, and a reference that cancels; the form is
    that of the paper.
    """

    version: ClassVar[int] = 1

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm.training.losses import dmpo

        return dmpo(pairs.pi_w, pairs.pi_l, pairs.ref_w, pairs.ref_l, pairs.mask, self.beta).loss
