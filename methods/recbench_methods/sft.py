"""Supervised fine-tuning on the next item's identifier (BIGRec, LC-Rec; ILRec Eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.data import TrainingData
from recbench.llm.method import LLMMethod
from recbench.method import RunContext

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.forward import Phi, Supervision
    from recbench.llm.policy import Policy


class TokenCrossEntropy:
    """Mean cross-entropy over all response tokens, EOS included."""

    num_layers = 0
    phi: Phi = "shared"

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        from recbench.llm.losses import token_ce

        del layer_logits
        loss = token_ce(logits, supervision.label)
        return loss, {"loss": loss}


@dataclass
class SFT(LLMMethod):
    """Maximum likelihood of the target's identifier given the history; no negatives, no reference."""

    version: ClassVar[int] = 1

    def train(self, policy: Policy, data: TrainingData, run: RunContext) -> None:
        from recbench.llm.examples import next_item
        from recbench.llm.trainer import train

        assert run.llm is not None
        settings = run.llm.train
        rows = next_item(policy.prompts, data, settings).rows
        train(policy, rows, TokenCrossEntropy(), settings=settings, run=run)
