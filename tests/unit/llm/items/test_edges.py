"""How much an edge of the trie decides, on the catalogue ab$, ac$, a$, bde$, c$ with counts 3, 1, 2, 2, 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbench.llm.items.edges import (
    EdgeScores,
    decides,
    decoding_factors,
    entropy_below,
    information_gain,
    mass_below,
)
from recbench.llm.items.trie import ROOT, Trie

TRIE = Trie.build([[0, 1, 5], [0, 2, 5], [0, 5], [1, 3, 4, 5], [2, 5]])
COUNTS = np.array([3, 1, 2, 2, 2])


def node(*tokens: int) -> int:
    at = ROOT
    for token in tokens:
        at = next(child for child in TRIE.children(at).tolist() if TRIE.token[child] == token)
    return at


def test_entropy_below_a_node_keeps_the_shares_of_all_items() -> None:
    entropy = entropy_below(TRIE, COUNTS)
    found = [entropy[node()], entropy[node(0)], entropy[node(1)], entropy[node(0, 1)]]
    assert found == pytest.approx([1.557113, 0.913338, 0.321888, 0.361192], abs=1e-6)
    assert mass_below(TRIE, COUNTS.astype(float))[[node(), node(0), node(0, 1)]].tolist() == [10, 6, 3]


def test_gain_of_each_edge_and_which_of_them_decide() -> None:
    gain = information_gain(TRIE, COUNTS)
    root = [gain[node(token)] for token in (0, 1, 2)]
    assert root == pytest.approx([0.643775, 1.235226, 1.235226], abs=1e-6)
    after_a = [gain[node(0, token)] for token in (1, 2, 5)]
    assert after_a == pytest.approx([0.552146, 0.683079, 0.591450], abs=1e-6)
    path = [gain[node(*[1, 3, 4, 5][:depth])] for depth in (1, 2, 3, 4)]
    assert path == pytest.approx([1.235226, 0, 0, 0], abs=1e-6)
    assert (decides(TRIE, COUNTS) == (gain > 1e-9)).all()


def test_a_sibling_without_a_training_target_decides_nothing() -> None:
    counts = np.array([3, 0, 0, 2, 2])  # after a, only b has been a target
    decisive = decides(TRIE, counts)
    assert not decisive[node(0, 1)]
    assert decisive[node(0, 2)]  # an item never trained is told apart from the one that was
    assert decisive[node(0)]


def test_decoding_favours_the_larger_gains_and_leaves_only_children_alone() -> None:
    factor = decoding_factors(TRIE, COUNTS, 0.2)
    assert [factor[node(token)] for token in (0, 1, 2)] == pytest.approx([1, 0.8, 0.8])
    after_a = [factor[node(0, token)] for token in (1, 2, 5)]
    assert after_a == pytest.approx([1, 0.8, 0.939963], abs=1e-6)
    assert factor[node(1, 3)] == factor[node(1, 3, 4)] == 1
    root = np.array([-1.688694, -2.188694, -3.188694]) * [factor[node(token)] for token in (0, 1, 2)]
    assert root.tolist() == pytest.approx([-1.688694, -1.750955, -2.550955], abs=1e-6)
    assert (decoding_factors(TRIE, COUNTS, 0.0) == 1).all()


def test_a_child_without_mass_has_the_factor_one_and_no_part_in_the_range() -> None:
    factor = decoding_factors(TRIE, np.array([3, 0, 2, 2, 2]), 0.2)
    assert factor[node(0, 2)] == 1
    assert sorted([factor[node(0, 1)], factor[node(0, 5)]]) == pytest.approx([0.8, 1])


def test_what_a_ranking_reads_of_a_fit_survives_a_file_and_is_none_where_nothing_differs(
    tmp_path: Path,
) -> None:
    EdgeScores().save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert EdgeScores.load(tmp_path).tau == 1.0
    factor = decoding_factors(TRIE, COUNTS, 0.2)
    EdgeScores(tau=1.7, factor=factor).save(tmp_path)
    found = EdgeScores.load(tmp_path)
    assert found.tau == 1.7
    assert found.factor is not None
    assert np.array_equal(found.factor, factor)
    EdgeScores(tau=2.0).save(tmp_path)
    assert EdgeScores.load(tmp_path).factor is None
