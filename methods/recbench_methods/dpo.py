"""DPO: direct preference optimisation with one random negative (Rafailov et al. 2023, arXiv 2305.18290)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.llm import PREFERENCE_SPACE, RandomNegatives
from recbench.method import Space

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch


@dataclass(kw_only=True)
class DPO(RandomNegatives):
    """The target preferred to one item drawn from the catalogue, relative to the SFT parent.

    L = -log sigma(beta (rho_w - rho_l)), with rho = log pi - log ref of the chosen and the rejected response.
    """

    version: ClassVar[int] = 1
    negatives: ClassVar[int] = 1  # type: ignore[misc]  # no parameter here: several make it S-DPO
    space: ClassVar[Space] = PREFERENCE_SPACE

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import dpo

        return dpo(pairs.pi_w, pairs.pi_l[:, 0], pairs.ref_w, pairs.ref_l[:, 0], self.beta).loss
