"""Groups of responses: the exact best, beams, draws by the policy's own law, and which of them are hits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.data import Ints
from recbench.llm.decoding.sample import sample_leaves
from recbench.llm.items.trie import Trie
from recbench.llm.rollout.groups import Ask, How, kept_draws, make_groups, named_items
from recbench.llm.training.examples import NextItem
from tests.unit.llm.conftest import EOS, GAP, brute_force, codes, llama, random_prompts, titles
from tests.unit.llm.rollout.conftest import IDENTIFIERS, TIE

ALL = np.arange(5)
HOWS: tuple[How, ...] = ("exact", "beam", "sample", "dynamic")


def truth(policy: Any, examples: NextItem, example: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[I] the log-probability of each item's identifier after an example's history."""
    prompt = policy.prompts.for_histories(examples.history.take(np.array([example])))[0]
    return brute_force(policy.model, policy.trie, [[*tokens, EOS] for tokens in IDENTIFIERS], prompt, "vocab")


def test_the_first_item_by_popularity_stands_for_its_identifier(policy: Any) -> None:
    one, others = named_items(policy.trie, TIE)
    assert others.tolist() == [0, 3]
    assert one[policy.trie.leaf].tolist() == [5, 1, 2, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("size", [2, 4, 6, 16])
def test_the_exact_group_are_the_best_identifiers_in_their_order(
    policy: Any, examples: NextItem, size: int
) -> None:
    """Six identifiers of eight items: a group of sixteen has all six, once each."""
    groups = make_groups(policy, examples, ALL, Ask("exact", size))
    assert groups.items.shape == (5, min(size, 6))
    assert groups.certified == 1
    for example in range(5):
        scores = truth(policy, examples, example)
        kept = [5, 1, 2, 4, 6, 7]
        best = sorted(kept, key=lambda item: -scores[item])[:size]
        target = int(examples.target[example])
        mate = {0: 5, 3: 2}.get(target, target)
        assert groups.items[example].tolist() == [target if item == mate else item for item in best]
        np.testing.assert_allclose(groups.scores[example], scores[groups.items[example]], atol=GAP)
        assert groups.hit[example].tolist() == [item == mate for item in best]


def test_a_beam_as_wide_as_the_trie_finds_what_the_search_finds(policy: Any, examples: NextItem) -> None:
    exact = make_groups(policy, examples, ALL, Ask("exact", 6))
    beam = make_groups(policy, examples, ALL, Ask("beam", 6))
    assert np.array_equal(exact.items, beam.items)
    assert beam.certified is None


@pytest.mark.parametrize("how", HOWS)
def test_history_is_left_out_where_two_identifiers_remain(policy: Any, examples: NextItem, how: How) -> None:
    leaf = policy.trie.leaf
    groups = make_groups(policy, examples, ALL, Ask(how, 8, mask_history=True))
    for example, items in enumerate(groups.items):
        found = items[items >= 0]
        assert not np.isin(leaf[found], leaf[examples.history[example]]).any()
    plain = make_groups(policy, examples, ALL, Ask(how, 8))
    taken = [np.isin(leaf[plain.items[e]], leaf[examples.history[e]]).any() for e in range(5)]
    assert any(taken)


@pytest.mark.parametrize("how", HOWS)
def test_the_tokens_read_are_those_of_prompts_and_of_their_continuations(
    policy: Any, examples: NextItem, how: How
) -> None:
    """Of prompts [8 21], [8 22 24], [8 22 24 21], [8 26 27 20] and [8 24] one is a part of another."""
    groups = make_groups(policy, examples, ALL, Ask(how, 4))
    nodes = groups.num_read - (2 + 4 + 4 + 2)
    inner = int((policy.trie.num_children > 0).sum()) - 1  # but for the root
    most = inner if how in ("exact", "beam") else 4 * 3 if how == "sample" else 6 * 3
    assert 0 < nodes <= 5 * most


def test_dynamic_draws_keep_the_targets_then_one_of_each_other_by_frequency() -> None:
    p, t, q = 7, 1, 4
    draws = [p, t, q, p, t, p]
    assert [draws[place] for place in kept_draws(draws, t, 4)] == [t, t, p, q]
    assert [draws[place] for place in kept_draws(draws, t, 1)] == [t]
    assert [draws[place] for place in kept_draws(draws, 9, 4)] == [p, t, q, p]
    assert kept_draws(draws, t, 6).tolist() == [1, 4, 0, 2, 3, 5]


@given(draws=st.lists(st.integers(0, 5), min_size=1, max_size=12), target=st.integers(0, 5))
def test_all_draws_are_kept_once_where_there_is_room(draws: list[int], target: int) -> None:
    kept = kept_draws(draws, target, len(draws)).tolist()
    assert sorted(kept) == list(range(len(draws)))
    assert [draws[place] == target for place in kept] == sorted(
        (item == target for item in draws), reverse=True
    )


def draw(model: Any, trie: Trie, prompts: list[list[int]], count: int, **options: Any) -> tuple[Ints, Any]:
    chance = np.random.default_rng(5).random((len(prompts), count, trie.path.shape[1]))
    leaves, scores, _ = sample_leaves(model, trie, prompts, chance, **options)
    return leaves, scores


@pytest.mark.parametrize("identifiers", [codes(30), titles(30)], ids=["codes", "titles"])
@given(seed=st.integers(0, 3), temperature=st.sampled_from([0.2, 1.0, 5.0]))
def test_what_is_drawn_under_the_trie_is_an_item_and_has_its_own_score(
    identifiers: list[list[int]], seed: int, temperature: float
) -> None:
    model, trie, prompts = llama(seed), Trie.build(identifiers), random_prompts(3, seed)
    leaves, scores = draw(model, trie, prompts, 5, temperature=temperature)
    assert np.isin(leaves, trie.leaf).all()
    item = {int(leaf): item for item, leaf in enumerate(trie.leaf)}
    for prompt, found, score in zip(prompts, leaves, scores, strict=True):
        every = brute_force(model, trie, identifiers, prompt, "vocab")
        np.testing.assert_allclose(score, every[[item[int(leaf)] for leaf in found]], atol=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_follow_the_policy_among_the_children_of_each_node(policy: Any, temperature: float) -> None:
    """4,000 draws: a share is off its law by less than four standard errors."""
    trie, prompt = policy.trie, [8, 22, 24]
    leaves, _ = draw(policy.model, trie, [prompt] * 200, 20, temperature=temperature)
    expected = np.zeros(len(trie))
    expected[0] = 1.0
    for node in np.flatnonzero(trie.num_children):
        below = trie.children(int(node))
        path = []
        above = int(node)
        while above:
            path.append(int(trie.token[above]))
            above = int(trie.parent[above])
        logits = logits_after(policy.model, [*prompt, *path[::-1]])[trie.token[below]] / temperature
        chance = np.exp(logits - logits.max())
        expected[below] = expected[node] * chance / chance.sum()
    for leaf in np.unique(trie.leaf):
        share, error = (leaves == leaf).mean(), np.sqrt(expected[leaf] * (1 - expected[leaf]) / 4000)
        assert abs(share - expected[leaf]) < 4 * error + 1e-9


def logits_after(model: Any, tokens: list[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens])).logits[0, -1]
    return np.asarray(logits.double().numpy())


def test_an_examples_draws_are_its_own_whatever_is_drawn_with_them(policy: Any, examples: NextItem) -> None:
    ask = Ask("sample", 4)
    together = make_groups(policy, examples, ALL, ask, key=[7, 3])
    alone = make_groups(policy, examples, np.array([2]), ask, key=[7, 3])
    later = make_groups(policy, examples, ALL, ask, key=[7, 4])
    assert np.array_equal(together.items[2:3], alone.items)
    assert not np.array_equal(together.items, later.items)
    assert (np.diff(together.scores, axis=1) <= 0).all()


def test_dynamic_groups_have_the_target_first_where_it_was_drawn(policy: Any, examples: NextItem) -> None:
    """With ten of fifteen draws the hits come first; the same number of plain draws has them by score."""
    groups = make_groups(policy, examples, ALL, Ask("dynamic", 10), key=[1, 1])
    assert groups.items.shape == (5, 10)
    assert groups.hit.any()
    for hit in groups.hit.tolist():
        assert hit == sorted(hit, reverse=True)
