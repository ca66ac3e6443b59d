"""ORPO: SFT with a penalty on the odds of rejected responses, in one stage (arXiv 2403.07691)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.llm import PairMethod
from recbench.method import Space
from recbench.ranges import NotNegative

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch


@dataclass(kw_only=True)
class ORPO(PairMethod):
    """SFT and a preference in one stage from the base model; it takes the place of SFT.

    L = L_SFT(y_w) - beta * log sigma(o_w - o_l), with o the log-odds of a response's mean token
    log-probability m, o = m - log(1 - e^m).

    Samplers that ask a trained model (`self-hard` and its kin) have none to ask here.
    """

    version: ClassVar[int] = 1
    starts_from: ClassVar[Literal["base", "parent"]] = "base"
    needs_reference: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"soft": {"train.epochs": 7.0}}
    """`soft`: as many epochs as the SOFT paper gives SFT, whose place this method takes."""
    space: ClassVar[Space] = {
        "beta": (0.05, 0.1, 0.25),
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "scratch": (1e-3, 3e-3, 1e-2)},
    }
    """Around the paper's lambda, and the learning rates of `sft`. Not yet tuned."""

    beta: NotNegative = 0.1
    """The paper's lambda: weight of the preference."""
    sft_weight: NotNegative = 1.0
    """Weight of the cross-entropy of the chosen responses, 1 in the paper."""
    reduce: Literal["softmax", "pairs"] = "softmax"
    """How several negatives enter the preference: in one softmax as in S-DPO, or each as a pair."""

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import orpo

        return self.beta * orpo(pairs, self.reduce)
