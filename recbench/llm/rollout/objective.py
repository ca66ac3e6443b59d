"""The objective of groups: a clipped ratio times the advantage, and the divergence from the reference.

R responses of a batch, S supervised positions, T longest response.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recbench.llm.losses.groups import MeanOf, group_loss, token_kl
from recbench.llm.losses.tokens import token_logp
from recbench.llm.training.batch import Supervision
from recbench.llm.training.forward import Phi


class GroupObjective:
    """`group_loss` over rows with the columns `advantage` [R], `kept` [R] and, where they are known,
    `reference` and `old` [R, T]: log-probabilities of each token under the reference, and under the weights
    that made the responses."""

    num_layers = 0
    phi: Phi = "shared"

    def __init__(self, *, beta: float, clip: float, mean_of: MeanOf) -> None:
        self.beta, self.clip, self.mean_of = beta, clip, mean_of
        self.facts: Mapping[str, float] = {}
        """What is known of the groups that the rows come from, to be logged."""

    def units(self, supervision: Supervision) -> Sequence[int]:
        """Responses, or their tokens."""
        kept = supervision.columns["kept"]
        return [int((kept[supervision.response] if self.mean_of == "token" else kept).sum())]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del layer_logits
        columns, response = supervision.columns, supervision.response
        logp = token_logp(logits, supervision.label)

        def by_token(name: str) -> Tensor | None:
            values = columns.get(name)
            return None if values is None else values[response, supervision.step].to(logp)

        reference = by_token("reference")
        loss = group_loss(
            logp,
            response,
            columns["advantage"],
            beta=self.beta,
            reference=reference,
            old=by_token("old"),
            clip=self.clip,
            mean_of=self.mean_of,
            kept=columns["kept"],
        )
        terms = {"loss": loss}
        if reference is not None:
            with torch.no_grad():
                terms["kl"] = token_kl(logp, reference).mean()
        return loss, {**terms, **{name: logp.new_tensor(value) for name, value in self.facts.items()}}
