"""DPO: direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.llm import PairMethod

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch


@dataclass(kw_only=True)
class DPO(PairMethod):
    """The target preferred to one item drawn from the catalogue, relative to the SFT parent.

    L = -log sigma(beta (rho_w - rho_l)), with rho = log pi - log ref of the chosen and the rejected response.
    Several negatives give the mean over their pairs; their softmax is S-DPO.
    """

    version: ClassVar[int] = 1

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import dpo_pairs

        return dpo_pairs(pairs, self.beta)
