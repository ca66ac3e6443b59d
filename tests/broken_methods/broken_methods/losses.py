"""Pair losses that train, and are no mean over examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.llm import PairMethod

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch


@dataclass(kw_only=True)
class Broadcast(PairMethod):
    """[B] less [B, 1] is [B, B]: each target against the rejected items of all examples."""

    version: ClassVar[int] = 1

    def loss(self, pairs: PairBatch) -> Tensor:
        from torch.nn.functional import softplus

        return softplus(pairs.rho_l[:, :1] - pairs.rho_w).mean()


@dataclass(kw_only=True)
class Column(PairMethod):
    """A loss of each example, and no mean."""

    version: ClassVar[int] = 1

    def loss(self, pairs: PairBatch) -> Tensor:
        return pairs.rho_l[:, :1] - pairs.rho_w[:, None]
