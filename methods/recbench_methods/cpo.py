"""CPO: contrastive preference optimisation, DPO without a reference and with SFT (arXiv 2401.08417)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.llm import PREFERENCE_SPACE, PairMethod
from recbench.method import Space
from recbench.ranges import NotNegative

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch


@dataclass(kw_only=True)
class CPO(PairMethod):
    """The target preferred to its negatives by its log-probability, with cross-entropy for a reference.

    L = -log sigma(beta (log pi(y_w) - log pi(y_l))) + sft_weight * L_SFT(y_w).
    """

    version: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = False
    space: ClassVar[Space] = {
        "beta": (0.1, 0.5),
        "sft_weight": (0.1, 1.0),
        "train.lr": PREFERENCE_SPACE["train.lr"],
    }
    """Around trl's defaults, and the learning rates of every pair method. Not yet tuned."""

    sft_weight: NotNegative = 1.0
    """The paper's alpha: weight of the cross-entropy of the chosen responses."""
    reduce: Literal["softmax", "pairs"] = "softmax"
    """How several negatives enter the loss: in one softmax as in S-DPO, or each as a pair."""

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import cpo

        return cpo(pairs, self.beta, self.reduce)
