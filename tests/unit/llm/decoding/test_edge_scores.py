"""Rankings with a temperature and with factors of edges: certified, and those of scoring every item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.search import SearchPlan
from recbench.llm.items.edges import EdgeScores, decoding_factors
from recbench.llm.items.trie import Trie
from tests.unit.llm.conftest import (
    assert_equals_brute_force,
    brute_force,
    codes,
    llama,
    long_titles,
    random_prompts,
    search,
)


def factors(trie: Trie, alpha: float = 0.4) -> Any:
    counts = np.random.default_rng(0).integers(0, 4, trie.num_items)
    return decoding_factors(trie, counts, alpha)


@pytest.mark.parametrize("exhaustive", [False, True], ids=["search", "exhaustive"])
@pytest.mark.parametrize(
    ("normalise", "tau", "with_factors"),
    [("children", 2.5, False), ("vocab", 1.0, True), ("children", 0.7, True)],
)
@pytest.mark.parametrize("identifiers", [codes(60), long_titles(30)], ids=["codes", "long titles"])
def test_the_certified_ranking_is_that_of_scoring_every_item_by_its_edges(
    identifiers: list[list[int]], normalise: Any, tau: float, with_factors: bool, exhaustive: bool
) -> None:
    trie, model, prompts = Trie.build(identifiers), llama(0), random_prompts(2)
    edges = EdgeScores(tau=tau, factor=factors(trie) if with_factors else None)
    plan = SearchPlan(normalise=normalise, width=8, budget=1 if exhaustive else 10_000)
    result = search(model, identifiers, prompts, plan=plan, edges=edges)
    assert result.certified.all()
    plain = search(model, identifiers, prompts, plan=plan)
    assert not np.allclose(result.scores, plain.scores)
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, trie, identifiers, prompt, normalise, edges)
        assert_equals_brute_force(result.items[row], truth, result.scores[row])


def test_a_temperature_leaves_scores_over_the_vocabulary_alone() -> None:
    identifiers, model, prompts = codes(60), llama(0), random_prompts(3)
    plan = SearchPlan()
    warm = search(model, identifiers, prompts, plan=plan, edges=EdgeScores(tau=3.0))
    assert np.array_equal(warm.scores, search(model, identifiers, prompts, plan=plan).scores)


def test_a_wide_beam_with_factors_finds_what_the_search_finds() -> None:
    identifiers, model, prompts = codes(60), llama(0), random_prompts(3)
    trie = Trie.build(identifiers)
    options: dict[str, Any] = {"k": 5, "tie": np.arange(60), "edges": EdgeScores(factor=factors(trie))}
    beams = search_beam(model, trie, prompts, width=60, **options)
    exact = search(model, identifiers, prompts, **options)
    assert np.array_equal(beams.items, exact.items)
    np.testing.assert_allclose(beams.scores, exact.scores, atol=1e-5)
