"""The leaves of a search: groups of ties, and where a list is cut."""

from __future__ import annotations

import numpy as np
import torch

from recbench.llm.decoding.leaves import Leaves, open_before, rank_items
from recbench.llm.items.trie import Trie


def leaves_of(score: list[float]) -> Leaves:
    node = torch.arange(1, len(score) + 1)[None]  # node 0 is the root
    return Leaves(torch.tensor([score], dtype=torch.float64), node, torch.ones_like(node))


def test_ties_chain_through_neighbours_within_a_millionth() -> None:
    trie = Trie.build([[token] for token in range(2, 7)])  # leaf n holds item n - 1
    before, tie = open_before(trie, 1, None, None), np.array([4, 3, 2, 1, 0])
    # items 0, 1 and 2 are one group (gaps of 0.8e-6), 3 is 1.2e-6 further, 4 far away
    leaves = leaves_of([-1.0, -1.0000008, -1.0000016, -1.0000028, -2.0])
    assert rank_items(leaves, before, trie, k=5, tie=tie)[0].tolist() == [[2, 1, 0, 3, 4]]
    # the group of the first item ends with the third leaf; the fourth is the best that is cut
    kept, floor, cut = Leaves.none(1, torch.device("cpu")).add(leaves, torch.tensor([1]))
    assert kept.node.tolist() == [[1, 2, 3]]
    assert (floor.item(), cut.item()) == (-1.0000016, -1.0000028)


def test_nothing_is_cut_while_there_are_too_few_items() -> None:
    kept, floor, cut = Leaves.none(1, torch.device("cpu")).add(leaves_of([-1.0, -3.0]), torch.tensor([3]))
    assert kept.score.tolist() == [[-1.0, -3.0]]
    assert floor.item() == cut.item() == -np.inf
