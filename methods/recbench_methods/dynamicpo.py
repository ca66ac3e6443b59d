"""DynamicPO: DMPO on the negatives at the policy's border, with a beta for each (arXiv 2605.00327)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.llm import PREFERENCE_SPACE, PairMethod
from recbench.method import Space
from recbench.ranges import Count, NotNegative

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch


@dataclass(kw_only=True)
class DynamicPO(PairMethod):
    """DMPO whose negatives are chosen anew by the policy in each step, and weigh by how near they are.

    L = -log sigma(mean over the border of beta_j (rho_w - rho_l_j)). The border are the negatives that the
    policy finds at least as likely as the target, or, where there are none, the top of three clusters; the
    others have no gradient. beta_j lies between half and one and a half of beta.

    The branch of the code that its launcher means to ask for; the paper's text was not available.
    """

    version: ClassVar[int] = 1
    space: ClassVar[Space] = {**PREFERENCE_SPACE, "num_negatives": (3, 5)}
    """Those of every pair method. Not yet tuned."""

    beta: NotNegative = 1.0
    """Scale of the log-ratios in the loss, 1/nat."""
    num_negatives: Count = 5
    """Rejected items of an example; fewer where the sampler finds no more."""

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import dynamicpo

        return dynamicpo(pairs, self.beta)
