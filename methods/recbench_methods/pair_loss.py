"""Losses over pairs that differ in one formula: IPO, cDPO, robust and normalised DPO, APO, SPPO, KTO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Interval

from recbench.llm import PairMethod
from recbench.ranges import NotNegative

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch

Kind = Literal["ipo", "cdpo", "robust", "dpo-norm", "apo-zero", "sppo-hard", "kto"]


@dataclass(kw_only=True)
class PairLossMethod(PairMethod):
    """One of trl's other losses over pairs, on the trainer and the negatives of every pair method.

    With rho = log pi - log ref of a response and h = beta (rho_w - rho_l):

    `ipo`: (rho_w - rho_l - 1 / (2 beta))^2, with rho per token (arXiv 2310.12036).
    `cdpo`: -(1 - epsilon) log sigma(h) - epsilon log sigma(-h), DPO with label smoothing.
    `robust`: the same, unbiased under flipped pairs (arXiv 2403.00409).
    `dpo-norm`: DPO with rho per token.
    `apo-zero`: 1 - sigma(beta rho_w) + sigma(beta rho_l) (arXiv 2408.06266).
    `sppo-hard`: (rho_w - 1 / (2 beta))^2 + (rho_l + 1 / (2 beta))^2 (arXiv 2405.00675).
    `kto`: chosen and rejected each against the mean rho of responses to other prompts (arXiv 2402.01306).

    Several negatives are averaged over pairs; only `dpo-norm` can have them in one softmax.
    """

    version: ClassVar[int] = 1

    type_: Kind
    """The loss."""
    epsilon: Annotated[float, Interval(ge=0, lt=0.5)] = 0.1
    """`cdpo` and `robust`: the chance that a pair is the wrong way round."""
    length: Literal["tokens", "none"] = "tokens"
    """`ipo`: whether rho is divided by the response's tokens, as in trl; the paper has a sum."""
    lambda_w: NotNegative = 1.0
    """`kto`: weight of chosen responses."""
    lambda_l: NotNegative = 1.0
    """`kto`: weight of rejected responses."""
    reduce: Literal["auto", "softmax", "pairs"] = "auto"
    """How several negatives enter the loss; `auto` is `softmax` for dpo-norm and `pairs` for all others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta == 0:
            raise ValueError("beta must be above 0")
        softmax = self.type_ == "dpo-norm"
        if self.reduce == "softmax" and not softmax:
            raise ValueError(f"{self.type_} has no softmax over negatives, only reduce=pairs")
        if self.reduce == "auto":
            self.reduce = "softmax" if softmax else "pairs"

    @property
    def unrelated(self) -> bool:
        return self.type_ == "kto"

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import apo_zero, dpo_norm, ipo, kto, smoothed_dpo, sppo_hard

        beta = self.beta
        match self.type_:
            case "ipo":
                return ipo(pairs, beta, per_token=self.length == "tokens")
            case "cdpo":
                return smoothed_dpo(pairs, beta, self.epsilon, "conservative")
            case "robust":
                return smoothed_dpo(pairs, beta, self.epsilon, "robust")
            case "dpo-norm":
                reduce: Literal["softmax", "pairs"] = "pairs" if self.reduce == "pairs" else "softmax"
                return dpo_norm(pairs, beta, reduce)
            case "apo-zero":
                return apo_zero(pairs, beta)
            case "sppo-hard":
                return sppo_hard(pairs, beta)
            case "kto":
                return kto(pairs, beta, lambda_w=self.lambda_w, lambda_l=self.lambda_l)
