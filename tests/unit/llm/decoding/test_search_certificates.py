"""Certificates of the exact search: never false, and absent past the budget."""

from __future__ import annotations

import numpy as np
import pytest

from recbench.data import Ragged
from recbench.llm.decoding.search import SearchPlan
from recbench.llm.items.trie import Trie
from tests.unit.llm.conftest import (
    assert_equals_brute_force,
    brute_force,
    codes,
    llama,
    long_titles,
    random_prompts,
    search,
    titles,
)


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 8.0, 40.0])
def test_certificates_are_never_false(sharpness: float) -> None:
    for seed in range(6):
        draw = (titles, codes, long_titles)[seed % 3]
        identifiers = codes(80, per_level=6, seed=seed) if draw is codes else draw(80, seed=seed)
        model, prompts = llama(seed, sharpness), random_prompts(3, seed)
        trie = Trie.build(identifiers)
        for budget, limit in ((5, 0), (40, 0), (5, 50_000), (1000, 0)):
            plan = SearchPlan(width=4, budget=budget, exhaustive_nodes=limit)
            result = search(model, identifiers, prompts, k=7, plan=plan)
            assert result.certified.all() or limit == 0
            for row in np.flatnonzero(result.certified):
                truth = brute_force(model, trie, identifiers, prompts[row], "vocab")
                assert_equals_brute_force(result.items[row], truth, result.scores[row])


def test_a_request_past_its_budget_keeps_its_best_list_uncertified() -> None:
    identifiers = codes(300)
    result = search(
        llama(2, 1.0), identifiers, random_prompts(4), plan=SearchPlan(budget=20, width=8, exhaustive_nodes=0)
    )
    assert not result.certified.any()
    assert (result.stats["nodes"] == 20).all()
    result = search(
        llama(2, 1.0),
        identifiers,
        random_prompts(4),
        plan=SearchPlan(budget=60, width=20, exhaustive_nodes=0),
    )
    assert not result.certified.any()


@pytest.mark.parametrize("limit", [0, 50_000])
def test_a_request_past_its_budget_gains_no_certificate_while_its_batch_goes_on(limit: int) -> None:
    identifiers, model, prompts = codes(30), llama(0), random_prompts(6)
    # The first two may be given all 30 items and spend their 60 nodes while the other four still search.
    allowed = Ragged.of([list(range(size)) for size in (30, 30, 10, 7, 6, 6)])
    plan = SearchPlan(width=30, budget=60, batch=6, exhaustive_nodes=limit)
    result = search(model, identifiers, prompts, plan=plan, allowed=allowed)
    assert result.certified.tolist() == [limit > 0, limit > 0, True, True, True, True]
    trie = Trie.build(identifiers)
    for row in np.flatnonzero(result.certified).tolist():
        truth = np.full(30, -np.inf)
        truth[allowed[row]] = brute_force(model, trie, identifiers, prompts[row], "vocab")[allowed[row]]
        assert_equals_brute_force(result.items[row], truth, result.scores[row])
