"""Exact search equals scoring every item on its own: any identifiers, models, batches and candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

from recbench.data import Ragged, Requests
from recbench.errors import CheckError
from recbench.llm.decoding.search import Searched, SearchPlan
from recbench.llm.items.trie import Trie
from recbench.ranking import Ranking, tie_order
from tests.unit.llm.conftest import (
    EOS,
    GAP,
    SMALL,
    VOCAB,
    assert_equals_brute_force,
    brute_force,
    codes,
    llama,
    long_titles,
    random_prompts,
    search,
    sharpened,
    titles,
)


@pytest.mark.parametrize("normalise", ["vocab", "children"])
@pytest.mark.parametrize(
    "identifiers", [codes(400), titles(300), long_titles(120)], ids=["codes", "titles", "long titles"]
)
def test_top_k_equals_scoring_every_item_on_its_own(identifiers: list[list[int]], normalise: Any) -> None:
    model, prompts = llama(0), random_prompts(12)
    trie = Trie.build(identifiers)
    result = search(model, identifiers, prompts, plan=SearchPlan(normalise=normalise, width=8, batch=5))
    assert result.certified.all()
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, trie, identifiers, prompt, normalise)
        assert_equals_brute_force(result.items[row], truth, result.scores[row])


def test_fifty_users_are_ranked_as_by_scoring_every_item_but_for_gaps_below_1e_5() -> None:
    identifiers, model, prompts = codes(120, per_level=9), llama(10), random_prompts(50, seed=10)
    trie = Trie.build(identifiers)
    result = search(model, identifiers, prompts, k=20, plan=SearchPlan(width=8, batch=16))
    assert result.certified.all()
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, trie, identifiers, prompt, "vocab")
        index = np.argsort(np.argsort(-truth, kind="stable"))[result.items[row]]  # in the brute-force order
        moved = index != np.arange(20)
        best = -np.sort(-truth)[:20]
        assert (np.abs(truth[result.items[row]] - best)[moved] < GAP).all()
        np.testing.assert_allclose(result.scores[row], best, atol=GAP)


def test_search_expands_only_a_part_of_the_trie() -> None:
    identifiers = codes(600)
    trie = Trie.build(identifiers)
    result = search(llama(1), identifiers, random_prompts(8), plan=SearchPlan(normalise="children", width=8))
    assert result.certified.all()
    assert result.stats["nodes"].max() < 0.2 * (trie.num_children > 0).sum()
    assert (result.stats["rounds"] >= 1).all()
    assert (result.stats["nodes"] <= 8 * result.stats["rounds"]).all()


@pytest.mark.parametrize("budget", [10_000, 3])
@pytest.mark.parametrize("normalise", ["vocab", "children"])
def test_a_model_that_predicts_nan_is_refused_and_not_certified(normalise: Any, budget: int) -> None:
    model = llama(0)
    with torch.no_grad():
        model.lm_head.weight[5] = torch.nan
    plan = SearchPlan(normalise=normalise, budget=budget)
    with pytest.raises(CheckError, match="not numbers"):
        search(model, [[5, EOS], [6, 7, EOS], [6, 8, EOS]], random_prompts(2), plan=plan)


@pytest.mark.parametrize("normalise", ["vocab", "children"])
def test_the_exhaustive_path_gives_the_ranking_of_the_search(normalise: Any) -> None:
    for identifiers in (codes(300), titles(200), long_titles(100)):
        model, prompts = llama(3, 12.0), random_prompts(5)
        searched = search(model, identifiers, prompts, plan=SearchPlan(normalise=normalise, budget=10_000))
        scored = search(model, identifiers, prompts, plan=SearchPlan(normalise=normalise, budget=1))
        assert searched.certified.all()
        assert scored.certified.all()
        np.testing.assert_allclose(searched.scores, scored.scores, atol=GAP)
        assert (searched.items == scored.items).mean() > 0.99


def test_equal_scores_stand_in_tie_order_across_leaves_and_inside_a_shared_one() -> None:
    model = llama(4)
    with torch.no_grad():
        model.lm_head.weight.zero_()  # every token has probability 1 / 300
    identifiers = [[5, 9, EOS], [5, 8, EOS], [6, 8, EOS], [5, 9, EOS], [7, EOS], [6, 9, EOS]]
    popularity = np.array([1, 5, 5, 9, 0, 2])
    result = search(model, identifiers, [[3, 4]], k=6, tie=tie_order(popularity))
    # item 4 has two tokens and comes first; the other five tie: 3 (9 times), 1 and 2 (5), 5 (2), 0 (1)
    assert result.items.tolist() == [[4, 3, 1, 2, 5, 0]]
    expected = [-2 * np.log(300), *[-3 * np.log(300)] * 5]
    np.testing.assert_allclose(result.scores[0], expected, atol=1e-5)
    # cut inside the tie, the more popular items stay
    assert search(model, identifiers, [[3, 4]], k=2, tie=tie_order(popularity)).items.tolist() == [[4, 3]]
    assert search(model, identifiers, [[3, 4]], k=3, tie=tie_order(popularity)).items.tolist() == [[4, 3, 1]]


def test_places_beyond_the_last_item_are_padded() -> None:
    identifiers = codes(7)
    result = search(llama(5), identifiers, random_prompts(3), k=10)
    assert result.certified.all()
    assert (result.items[:, 7:] == -1).all()
    assert np.isnan(result.scores[:, 7:]).all()
    assert np.sort(result.items[:, :7]).tolist() == [list(range(7))] * 3


@pytest.mark.parametrize("budget", [10_000, 3])
def test_candidates_and_masks_restrict_items_and_change_no_score(budget: int) -> None:
    identifiers, model, prompts = codes(200), llama(6), random_prompts(6)
    rng = np.random.default_rng(0)
    allowed = Ragged.of([rng.choice(200, size, replace=False) for size in (200, 60, 12, 4, 1, 0)])
    excluded = Ragged.of([rng.choice(200, 30, replace=False) for _ in prompts])
    result = search(
        model,
        identifiers,
        prompts,
        k=8,
        plan=SearchPlan(budget=budget, width=8),
        allowed=allowed,
        excluded=excluded,
    )
    assert result.certified.all()
    requests = Requests(user=np.arange(6), history=Ragged.of([[0]] * 6), allowed=allowed, excluded=excluded)
    Ranking(items=result.items, scores=result.scores).check(requests, num_items=200, depth=8)
    trie = Trie.build(identifiers)
    for row, prompt in enumerate(prompts):
        truth = np.full(200, -np.inf)
        open_items = np.setdiff1d(allowed[row], excluded[row])
        truth[open_items] = brute_force(model, trie, identifiers, prompt, "vocab")[open_items]
        assert_equals_brute_force(result.items[row], truth, result.scores[row])


def test_results_do_not_depend_on_the_batch() -> None:
    identifiers, model, prompts = codes(300), llama(7), random_prompts(9)
    together = search(model, identifiers, prompts, plan=SearchPlan(batch=9, width=8))
    alone = search(model, identifiers, prompts, plan=SearchPlan(batch=1, width=8))
    backwards = search(model, identifiers, prompts[::-1], plan=SearchPlan(batch=4, width=3))
    for other in (
        alone,
        Searched(backwards.items[::-1], backwards.scores[::-1], backwards.certified[::-1], {}),
    ):
        np.testing.assert_allclose(together.scores, other.scores, atol=GAP)
        assert (together.items == other.items).mean() > 0.99
    assert together.stats["nodes"].tolist() == alone.stats["nodes"].tolist()


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "llama-eager", "llama-peft", "llama-float64"])
def test_other_model_families_rank_exactly_too(family: str) -> None:
    identifiers, prompts = codes(150), random_prompts(4)
    torch.manual_seed(8)
    model: Any
    if family == "gpt2":
        model = sharpened(GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4)), 3.0)
    elif family == "qwen2":
        model = sharpened(
            Qwen2ForCausalLM(Qwen2Config(**SMALL, intermediate_size=64, num_key_value_heads=2)), 25.0
        )
    else:
        model = llama(8)
        if family == "llama-eager":
            model.set_attn_implementation("eager")
        if family == "llama-float64":
            model = model.double()
    if family == "llama-peft":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=4, init_lora_weights=False, lora_dropout=0.5)).train()
    result = search(model, identifiers, prompts, k=5, plan=SearchPlan(width=8))
    assert result.certified.all()
    assert model.training == (family == "llama-peft")  # the mode it came in
    model.eval()
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, Trie.build(identifiers), identifiers, prompt, "vocab")
        assert_equals_brute_force(result.items[row], truth, result.scores[row])


def test_progress_counts_the_requests_done() -> None:
    seen: list[int] = []
    search(llama(9), codes(20), random_prompts(5), plan=SearchPlan(batch=2), progress=seen.append)
    assert seen == [2, 4, 5]
