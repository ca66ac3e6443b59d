"""DPO with one random negative (arXiv 2305.18290)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.llm.pair_method import PREFERENCE_SPACE, RandomNegatives
from recbench.method import Space

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.signals.preference import PairBatch


@dataclass(kw_only=True)
class DPO(RandomNegatives):
    """Direct preference optimisation against one item drawn from the catalogue."""

    version: ClassVar[int] = 1
    negatives: ClassVar[int] = 1  # type: ignore[misc]  # no parameter here: several make it S-DPO
    space: ClassVar[Space] = PREFERENCE_SPACE

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm.training.losses import dpo

        return dpo(pairs.pi_w, pairs.pi_l[:, 0], pairs.ref_w, pairs.ref_l[:, 0], self.beta).loss
