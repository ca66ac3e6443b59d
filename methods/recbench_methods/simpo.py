"""SimPO: a margin of mean token log-probabilities, without a reference (arXiv 2405.14734)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.llm import PairMethod
from recbench.method import Space
from recbench.ranges import NotNegative

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch


@dataclass(kw_only=True)
class SimPO(PairMethod):
    """The target preferred by a margin to its negatives, by the mean log-probability of their tokens.

    L = -log sigma(beta (m_w - m_l) - gamma), with m the mean log-probability of a response's tokens and gamma
    = beta * gamma_ratio. No reference holds the chosen response up: watch `chosen_logp`, or add `sft_weight`.

    With `reduce=softmax` several negatives stand in one softmax as in S-DPO, with `pairs` each makes a pair.
    Where all identifiers have one length, the mean is the sum at another beta.
    """

    version: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = False
    space: ClassVar[Space] = {
        "beta": (2.0, 5.0, 10.0),
        "gamma_ratio": (0.1, 0.3, 0.5),
        "train.lr": {"pretrained": (2e-6, 1e-5), "scratch": (1e-5, 3e-5, 1e-4, 3e-4)},
    }
    """The range of the paper, and from scratch that of all pair methods. Not yet tuned."""

    beta: NotNegative = 2.0
    """Scale of the mean log-probabilities, 1/nat."""
    gamma_ratio: NotNegative = 0.3
    """The margin as a share of beta: how many nats a token the target shall be ahead."""
    reduce: Literal["softmax", "pairs"] = "softmax"
    """How several negatives enter the loss."""

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import simpo

        return simpo(pairs, self.beta, self.beta * self.gamma_ratio, self.reduce)
