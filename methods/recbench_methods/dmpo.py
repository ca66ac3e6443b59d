"""DMPO: the mean of several random negatives in place of a single one (arXiv 2405.16127)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.llm import PREFERENCE_SPACE, PairMethod
from recbench.method import Space
from recbench.ranges import Count

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch


@dataclass(kw_only=True)
class DMPO(PairMethod):
    """DPO of the target's log-ratio against the mean log-ratio of its negatives; with one negative it is DPO.

    L = -log sigma(beta (rho_w - mean_j rho_l_j)), with rho = log pi - log ref of a response.

    This is the paper's form. The public code has one negative, and a reference that cancels.
    """

    version: ClassVar[int] = 1
    space: ClassVar[Space] = {**PREFERENCE_SPACE, "num_negatives": (3, 5)}

    num_negatives: Count = 5
    """Rejected items of an example; fewer where the sampler finds no more."""

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import dmpo

        return dmpo(pairs.pi_w, pairs.pi_l, pairs.ref_w, pairs.ref_l, pairs.mask, self.beta).loss
