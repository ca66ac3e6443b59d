"""S-DPO: softmax preference over several random negatives (arXiv 2406.09215)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.llm.pair_method import PREFERENCE_PRESETS, RandomNegatives

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.signals.preference import PairBatch


@dataclass(kw_only=True)
class SDPO(RandomNegatives):
    """The chosen item against all its negatives in one softmax of log-ratios; with one negative it is DPO.

    The authors' code draws 3 negatives, ILRec compares with 5.
    """

    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {**PREFERENCE_PRESETS, "soft": {"negatives": 3}}

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm.training.losses import sdpo

        return sdpo(pairs.pi_w, pairs.pi_l, pairs.ref_w, pairs.ref_l, pairs.mask, self.beta).loss
