"""S-DPO: softmax preference over several random negatives (Chen et al. 2024, arXiv 2406.09215)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.llm import PREFERENCE_PRESETS, PREFERENCE_SPACE, PairMethod
from recbench.method import Space
from recbench.ranges import Count, NotNegative

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch


@dataclass(kw_only=True)
class SDPO(PairMethod):
    """The target against all its negatives in one softmax of log-ratios; with one negative it is DPO.

    L = log(1 + sum_j exp(beta (rho_l_j - rho_w))), with rho = log pi - log ref of a response.

    The authors' scripts have beta 1 and 3 negatives; ILRec's comparison draws 5 and does not say its beta.
    """

    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        **PREFERENCE_PRESETS,
        "ilrec": {"num_negatives": 5},
        "soft": {"num_negatives": 3},
        "official": {"beta": 1.0, "num_negatives": 3},
        "official+pretrained": {"train.lr": 1e-5},
    }
    """`official`: the authors' script softmax_dpo.sh; `ilrec`: the number of negatives in ILRec's
    comparison; `soft`: its paper does not say, so the authors'; learning rates of pretrained models are
    S-DPO's and, for `soft`, the SOFT paper's; `scratch` was chosen on validation NDCG@10 of ml-100k."""
    space: ClassVar[Space] = {**PREFERENCE_SPACE, "num_negatives": (3, 5)}

    beta: NotNegative = 1.0
    """Scale of the log-ratios in the loss, 1/nat."""
    num_negatives: Count = 3
    """Rejected items of an example; fewer where the sampler finds no more."""

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import sdpo

        return sdpo(pairs.pi_w, pairs.pi_l, pairs.ref_w, pairs.ref_l, pairs.mask, self.beta).loss
