"""The objective of supervised fine-tuning."""

from __future__ import annotations

from torch import Tensor

from recbench.llm.losses.tokens import token_ce
from recbench.llm.training.batch import Supervision
from recbench.llm.training.forward import Phi


class TokenCrossEntropy:
    """Mean cross-entropy over all response tokens, EOS included."""

    num_layers = 0
    phi: Phi = "shared"

    def units(self, supervision: Supervision) -> list[int]:
        return [len(supervision.label)]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del layer_logits
        loss = token_ce(logits, supervision.label)
        return loss, {"loss": loss}
