"""The trie of identifiers: its arrays, its runs of only children, and what it refuses."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.errors import DataError
from recbench.llm.items.trie import Trie, TrieTables

EOS = 1
IDENTIFIERS = [[5, 7, EOS], [5, EOS], [4, EOS], [5, 7, EOS], [5, 7, 9, EOS]]

identifier_lists = st.lists(
    st.lists(st.integers(2, 5), min_size=1, max_size=4).map(lambda codes: [*codes, EOS]),
    min_size=1,
    max_size=25,
)


def test_items_sort_by_identifier_and_shared_identifiers_share_a_leaf() -> None:
    trie = Trie.build(IDENTIFIERS)
    # [4,1] < [5,1] < [5,7,1] (items 0 and 3) < [5,7,9,1]
    assert trie.order.tolist() == [2, 1, 0, 3, 4]
    assert trie.leaf[0] == trie.leaf[3]
    assert trie.items(int(trie.leaf[0])).tolist() == [0, 3]
    # root; 4 5; 41 51 57; 571 579; 5791
    assert trie.depth.tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 4]
    assert trie.token.tolist() == [-1, 4, 5, 1, 1, 7, 1, 9, 1]
    assert trie.parent.tolist() == [-1, 0, 0, 1, 2, 2, 5, 5, 7]
    assert trie.node_lo.tolist() == [0, 0, 1, 0, 1, 2, 2, 4, 4]
    assert trie.node_hi.tolist() == [5, 1, 5, 1, 2, 5, 4, 5, 5]
    assert trie.num_children.tolist() == [2, 1, 2, 0, 0, 2, 0, 1, 0]
    assert trie.path[4].tolist() == [0, 2, 5, 7, 8]
    assert trie.path[2].tolist() == [0, 1, 3, -1, -1]


def test_a_run_ends_where_a_choice_or_the_last_token_before_a_leaf_comes() -> None:
    trie = Trie.build([[4, 5, 6, EOS], [4, 5, 6, 7, EOS], [8, 9, EOS]])
    # root; 4 8; 45 89; 456 891; 4561 4567; 45671
    assert trie.token.tolist() == [-1, 4, 8, 5, 9, 6, 1, 1, 7, 1]
    # 4 and 45 lead to 456, where two ways part; 8 leads to 89, below which is only the leaf 891
    assert trie.run_end.tolist() == [0, 5, 4, 5, 4, 5, 6, 7, 8, 9]


def test_a_device_keeps_the_arrays_and_a_changed_trie_has_its_own() -> None:
    trie = Trie.build(IDENTIFIERS)
    with torch.inference_mode():
        tables = trie.tables("cpu")
    for one in fields(TrieTables):
        array = getattr(tables, one.name)
        assert array.tolist() == getattr(trie, one.name).tolist()
        assert not array.is_inference()  # training may read what a search has made
    assert trie.tables(torch.device("cpu")) is tables
    assert trie.tables("meta") is trie.tables("meta") is not tables
    other = replace(trie, run_end=np.arange(len(trie)))
    assert other.tables("cpu").run_end.tolist() == list(range(len(trie)))
    assert trie.tables("cpu") is tables


def test_children_of_a_batch_of_nodes_are_padded_and_masked() -> None:
    tables = Trie.build(IDENTIFIERS).tables("cpu")
    tokens, nodes, mask = tables.children(torch.tensor([[0, 7], [3, -1]]))
    assert tokens.tolist() == [[[4, 5], [1, 0]], [[0, 0], [0, 0]]]
    assert nodes.tolist() == [[[1, 2], [8, 0]], [[0, 0], [0, 0]]]
    assert mask.tolist() == [[[True, True], [True, False]], [[False, False], [False, False]]]


def test_children_of_a_row_of_nodes_stand_side_by_side() -> None:
    tables = Trie.build(IDENTIFIERS).tables("cpu")
    children = tables.children_of_rows(torch.tensor([[0, 7], [3, -1]]))
    assert children.token.tolist() == [[4, 5, 1], [0, 0, 0]]
    assert children.node.tolist() == [[1, 2, 8], [0, 0, 0]]
    assert children.known.tolist() == [[True, True, True], [False, False, False]]
    assert children.of[0].tolist() == [0, 0, 1]
    assert children.begins.tolist() == [[0, 2], [0, 0]]


@settings(max_examples=40, deadline=None)
@given(identifier_lists, st.integers(0, 1000))
def test_children_are_the_same_in_both_forms(identifiers: list[list[int]], seed: int) -> None:
    trie = Trie.build(identifiers)
    nodes = np.random.default_rng(seed).integers(-1, len(trie), (3, 4))
    tables = trie.tables("cpu")
    padded, side = tables.children(torch.from_numpy(nodes)), tables.children_of_rows(torch.from_numpy(nodes))
    for row in range(3):
        known = padded[2][row]
        assert side.node[row][side.known[row]].tolist() == padded[1][row][known].tolist()
        assert side.token[row][side.known[row]].tolist() == padded[0][row][known].tolist()
        of = torch.arange(4)[:, None].expand_as(known)[known]
        assert side.of[row][side.known[row]].tolist() == of.tolist()


@settings(max_examples=60, deadline=None)
@given(identifier_lists)
def test_every_node_agrees_with_a_dictionary_of_prefixes(identifiers: list[list[int]]) -> None:
    trie = Trie.build(identifiers)
    behind: dict[tuple[int, ...], set[int]] = {}
    for item, identifier in enumerate(identifiers):
        for end in range(len(identifier) + 1):
            behind.setdefault(tuple(identifier[:end]), set()).add(item)
    assert len(trie) == len(behind)
    for item, identifier in enumerate(identifiers):
        assert (trie.path[item, len(identifier) + 1 :] == -1).all()
        for end in range(len(identifier) + 1):
            node, prefix = int(trie.path[item, end]), tuple(identifier[:end])
            assert trie.depth[node] == end
            assert set(trie.items(node).tolist()) == behind[prefix]
            tokens = [int(trie.token[child]) for child in trie.children(node)]
            assert tokens == sorted({longer[end] for longer in behind if longer[:end] == prefix != longer})
            assert all(trie.parent[child] == node for child in trie.children(node))


@settings(max_examples=30, deadline=None)
@given(identifier_lists)
def test_children_split_their_parents_range(identifiers: list[list[int]]) -> None:
    trie = Trie.build(identifiers)
    assert sorted(trie.order.tolist()) == list(range(len(identifiers)))
    for node in np.flatnonzero(trie.num_children):
        children = trie.children(int(node))
        assert trie.node_lo[children[0]] == trie.node_lo[node]
        assert trie.node_hi[children[-1]] == trie.node_hi[node]
        assert (trie.node_hi[children[:-1]] == trie.node_lo[children[1:]]).all()


@settings(max_examples=30, deadline=None)
@given(identifier_lists)
def test_runs_follow_only_children(identifiers: list[list[int]]) -> None:
    trie = Trie.build(identifiers)
    for start in range(1, len(trie)):
        node = start
        while trie.num_children[node] == 1 and trie.num_children[trie.first_child[node]]:
            node = int(trie.first_child[node])
        assert trie.run_end[start] == node


@pytest.mark.parametrize("identifiers", [[], [[3, EOS], []], [[3, -1]], [[3], [3, EOS]]])
def test_identifiers_that_cannot_be_decoded_are_refused(identifiers: list[list[int]]) -> None:
    with pytest.raises(DataError):
        Trie.build(identifiers)
