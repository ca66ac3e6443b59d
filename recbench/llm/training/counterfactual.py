"""CFT's rows and objective: a response after its history, and after the same prompt without one.

S supervised positions of a batch, half of them with a history; M = S / 2, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recbench.llm.items.prompts import Prompts
from recbench.llm.losses.tokens import token_logp
from recbench.llm.losses.trie import position_weights, weighted_mean
from recbench.llm.training.batch import Supervision
from recbench.llm.training.examples import NextItem
from recbench.llm.training.forward import Phi
from recbench.llm.training.pack import Row, prefix_tree

WITH, WITHOUT = 0, 1
"""Values of the column `slot`: a response after its history, and after none."""


def with_empty_prompts(prompts: Prompts, examples: NextItem) -> list[Row]:
    """The rows of `examples`, each example once more after the prompt without its history, which a row has
    once. Columns: `example`, `target`, `slot`."""
    rows = []
    empty = prompts.prompt([])
    for row in examples.rows:
        members = row.facts["example"]
        targets = examples.target[members].tolist()
        sequences = [
            prompts.example(examples.history[example].tolist(), target)
            for example, target in zip(members.tolist(), targets, strict=True)
        ]
        sequences += [(empty + prompts.response(target), len(empty)) for target in targets]
        facts = {
            "example": np.tile(members, 2),
            "target": np.tile(examples.target[members], 2),
            "slot": np.repeat([WITH, WITHOUT], len(members)),
        }
        rows.append(prefix_tree(sequences, facts))
    return rows


class CounterfactualLoss:
    """L_n + α L_d: cross-entropy of the logits with a history, and of their difference to those without.

    Each is a mean weighted from 1 at a response's first token down to β at its last (arXiv 2410.22809).
    """

    num_layers = 0
    phi: Phi = "shared"

    def __init__(self, *, alpha: float, beta: float) -> None:
        self.alpha, self.beta = alpha, beta

    def units(self, supervision: Supervision) -> Sequence[float]:
        slot = supervision.columns["slot"][supervision.response]
        return [float(self._weights(supervision)[slot == WITH].double().sum())]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del layer_logits
        here, there = aligned(supervision)
        weight = self._weights(supervision)[here].to(logits)
        label = supervision.label[here]
        normal = weighted_mean(-token_logp(logits[here], label), weight)
        direct = weighted_mean(-token_logp(logits[here] - logits[there], label), weight)
        loss = normal + self.alpha * direct
        return loss, {"loss": loss, "loss_normal": normal, "loss_direct": direct}

    def _weights(self, supervision: Supervision) -> Tensor:
        length = torch.bincount(supervision.response)[supervision.response]
        return position_weights(supervision.step, length, self.beta)


def aligned(supervision: Supervision) -> tuple[Tensor, Tensor]:
    """Positions [M] with a history, and [M] those of the same tokens without, in the same order."""
    columns = supervision.columns
    slot = columns["slot"][supervision.response]
    longest = int(supervision.step.max()) + 1
    order = torch.argsort(columns["example"][supervision.response] * longest + supervision.step, stable=True)
    return order[slot[order] == WITH], order[slot[order] == WITHOUT]
