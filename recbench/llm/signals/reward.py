"""Reward next tokens by a collaborative model: its item probabilities, summed below trie nodes.

E training examples, R responses of a batch, S supervised positions, I items, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recbench.data import TrainingData
from recbench.llm.items.trie import Trie, TrieTables
from recbench.llm.losses.ilrec import ChildRewards, trie_reward
from recbench.llm.training.batch import Supervision
from recbench.llm.training.examples import NextItem
from recbench.method import RunContext
from recbench.sequential.params import SASRecParams
from recbench.sequential.sasrec import cf_model, states


@dataclass(frozen=True, slots=True, eq=False)
class CollaborativeReward:
    """The reward r of ILRec's Eq. 10 for the positions of a batch, from a frozen sequential model."""

    trie: TrieTables
    states: Tensor  # [E, D] the model's state after each example's history
    items: Tensor  # [I, D]

    @torch.no_grad()
    def __call__(self, supervision: Supervision) -> ChildRewards:
        columns = supervision.columns
        mass = (self.states[columns["example"]] @ self.items.T).softmax(1)  # [R, I]
        node = self.trie.path[columns["target"][supervision.response], supervision.step]
        return trie_reward(mass, supervision.response, node, self.trie)


def collaborative_reward(
    trie: Trie, data: TrainingData, examples: NextItem, run: RunContext
) -> CollaborativeReward:
    """Read every example's history once with the shared SASRec, at most the protocol's window of it."""
    model = cf_model(data, run, SASRecParams())
    return CollaborativeReward(
        trie=trie.tables(run.device),
        # a plain copy: inference tensors cannot enter autograd, even as constants
        states=states(model, examples.history).clone(),
        items=model.item.weight.detach(),
    )
