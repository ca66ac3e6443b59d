"""Objectives over the tokens that continue an identifier, and over tokens of unequal weight.

S supervised positions of a batch, R responses, V vocabulary, C most children of a node, N trie nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.errors import DataError
from recbench.llm.items.trie import Trie, TrieTables
from recbench.llm.losses.tokens import token_logp
from recbench.llm.losses.trie import (
    NOTHING,
    FirstTokens,
    bear_weights,
    child_ce,
    first_tokens,
    weighted_mean,
)
from recbench.llm.training.batch import Supervision
from recbench.llm.training.forward import Phi

Over = Literal["choices", "tokens", "examples"]


class Children(NamedTuple):
    """The logits of the tokens that may stand at each supervised position."""

    logits: Tensor  # [S, C] -inf beyond a node's children
    target: Tensor  # [S] the label's logit
    num: Tensor  # [S] children


def nodes_at(supervision: Supervision, path: Tensor) -> Tensor:
    """[S] the trie node from which each label is predicted; the rows have a column `target`."""
    return path[supervision.columns["target"][supervision.response], supervision.step]


def children_at(logits: Tensor, supervision: Supervision, tables: TrieTables) -> Children:
    """The children's logits out of `logits` [S, V]."""
    tokens, _, mask = tables.children(nodes_at(supervision, tables.path))
    return Children(
        logits.gather(1, tokens).masked_fill(~mask, -torch.inf),
        logits.gather(1, supervision.label[:, None])[:, 0],
        mask.sum(1),
    )


class TrieCrossEntropy:
    """MSL: cross-entropy over the children of each node at a temperature, times the temperature.

    `over` says of what the loss is a mean: positions with a choice, all positions, or responses (each then a
    sum). With `bear` above 0 positions with a choice have BEAR's weights.
    """

    num_layers = 0
    phi: Phi = "shared"

    def __init__(
        self,
        trie: Trie,
        device: str,
        *,
        tau: float = 1.0,
        over: Over = "choices",
        bear: float = 0.0,
        bear_scale: float = 2.75,
        bear_width: int = 10,
    ) -> None:
        self.trie, self.tables = trie, trie.tables(device)
        self.tau, self.over = tau, over
        self.bear, self.bear_scale, self.bear_width = bear, bear_scale, bear_width
        self.seen: FirstTokens = NOTHING
        """Sums over first tokens since they were last set to `NOTHING`."""
        self.watches = False
        """Whether it adds to `seen`."""
        if int(trie.num_children.max()) < 2:
            raise DataError(
                "no node of the trie has two children, so that no token is a choice",
                why="every item has the same identifier, or there is one item",
            )

    def units(self, supervision: Supervision) -> Sequence[float]:
        if self.over == "examples":
            return [len(next(iter(supervision.columns.values())))]
        if self.over == "tokens":
            return [len(supervision.label)]
        tables = self.trie.tables(supervision.label.device)  # counted before a batch is moved, too
        return [int((tables.num_children[nodes_at(supervision, tables.path)] > 1).sum())]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del layer_logits
        found = children_at(logits, supervision, self.tables)
        if self.watches:
            first = supervision.step == 0
            self.seen = self.seen.plus(first_tokens(found.logits[first], found.target[first]))
        each = child_ce(found.logits, found.target, self.tau)
        choice = found.num > 1
        terms = {"choice_share": choice.float().mean()}
        weight = choice.to(each)
        if self.bear:
            weight = weight * bear_weights(
                found.logits,
                found.target,
                strength=self.bear,
                scale=self.bear_scale,
                width=self.bear_width,
            )
            loss = weighted_mean(each, weight)
        elif self.over == "choices":
            loss = self.tau * weighted_mean(each, weight)
        else:
            loss = self.tau * each.sum() / self.units(supervision)[0]
        return loss, {"loss": loss, "tau": loss.new_tensor(self.tau), **terms}


class WeightedCrossEntropy:
    """Cross-entropy over the vocabulary, each token weighted by the edge of the trie that it takes (IGD)."""

    num_layers = 0
    phi: Phi = "shared"

    def __init__(self, trie: Trie, device: str, weight: NDArray[Any]) -> None:
        self.trie = trie
        self.weight = torch.from_numpy(weight).float().to(device)  # [N]

    def weights(self, supervision: Supervision) -> Tensor:
        """[S] the weight of each label."""
        device = supervision.label.device
        target = supervision.columns["target"][supervision.response]
        node = self.trie.tables(device).path[target, supervision.step + 1]
        return self.weight[node.to(self.weight.device)].to(device)

    def units(self, supervision: Supervision) -> Sequence[float]:
        return [float(self.weights(supervision).double().sum())]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del layer_logits
        weight = self.weights(supervision).to(logits)
        loss = weighted_mean(-token_logp(logits, supervision.label), weight)
        return loss, {"loss": loss, "decisive_share": (weight == 1).float().mean()}
