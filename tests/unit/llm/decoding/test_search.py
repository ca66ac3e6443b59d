from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from recbench.data import Ints, Ragged, Requests
from recbench.errors import CheckError, UsageError
from recbench.llm.decoding.leaves import Leaves, open_before, rank_items
from recbench.llm.decoding.search import Searched, SearchPlan, search_exact
from recbench.llm.items.trie import Trie
from recbench.llm.model.attention import check_tree_attention, tree_mask
from recbench.llm.training.pack import prefix_tree
from recbench.ranking import Ranking, tie_order

VOCAB, EOS = 300, 1
SMALL: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
FULL = SearchPlan(budget=10_000)
GAP = 1e-5  # float32 scores of the same identifier differ by less


def llama(seed: int, sharpness: float = 25.0, **config: Any) -> Any:
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            **SMALL, intermediate_size=64, num_key_value_heads=2, attn_implementation="sdpa", **config
        )
    )
    return sharpened(model, sharpness)


def sharpened(model: Any, sharpness: float) -> Any:
    """Random weights give nearly flat predictions; a scaled head and embeddings make them peaked."""
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(10)
        model.get_output_embeddings().weight.mul_(
            sharpness / 10 if model.config.tie_word_embeddings else sharpness
        )
    return model.eval()


def codes(num_items: int, *, levels: int = 4, per_level: int = 20, seed: int = 0) -> list[list[int]]:
    """Semantic ids of `levels` codes and an end; some items share one."""
    draw = np.random.default_rng(seed).integers(0, per_level, (num_items, levels))
    return [[*(2 + per_level * np.arange(levels) + row).tolist(), EOS] for row in draw]


def titles(num_items: int, seed: int = 0) -> list[list[int]]:
    """Identifiers of 1 to 5 tokens and an end; some begin others, some are shared."""
    rng = np.random.default_rng(seed)
    return [[*rng.integers(2, 7, rng.integers(1, 6)).tolist(), EOS] for _ in range(num_items)]


def long_titles(num_items: int, seed: int = 0) -> list[list[int]]:
    """Titles that share a first token and soon part, so that most of each is forced.

    Some have one token, some go on where another ends, some are shared.
    """
    rng = np.random.default_rng(seed)
    texts = [
        [2, *rng.integers(3, 9, 2), *rng.integers(9, VOCAB, rng.integers(0, 12))] for _ in range(num_items)
    ]
    texts[1], texts[2], texts[3] = [2], [7], texts[0]
    texts[4] = [*texts[0], *rng.integers(9, VOCAB, 5)]
    return [[*(int(token) for token in text), EOS] for text in texts]


def random_prompts(num: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, VOCAB, rng.integers(1, 14)).tolist() for _ in range(num)]


@torch.no_grad()
def brute_force(
    model: nn.Module, trie: Trie, identifiers: Sequence[Sequence[int]], prompt: list[int], normalise: str
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[I] the summed log-probability of every identifier, each in a sequence of its own without any cache."""
    scores = np.zeros(len(identifiers))
    for length in sorted({len(identifier) for identifier in identifiers}):
        items = [i for i, identifier in enumerate(identifiers) if len(identifier) == length]
        tokens = torch.tensor([[*prompt, *identifiers[i]] for i in items])
        logits = model(input_ids=tokens).logits[:, len(prompt) - 1 : -1].double()
        for step in range(length):
            here = logits[:, step]
            if normalise == "children":
                allowed = torch.zeros_like(here, dtype=torch.bool)
                for row, i in enumerate(items):
                    allowed[row, trie.token[trie.children(int(trie.path[i, step]))]] = True
                here = here.masked_fill(~allowed, -torch.inf)
            picked = here.log_softmax(-1).gather(1, tokens[:, len(prompt) + step, None])[:, 0]
            scores[items] += picked.numpy()
    return scores


def assert_equals_brute_force(items: Ints, truth: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> None:
    """The ranked items have their true scores, and these are the best; order is free inside a gap."""
    ranked = items[items >= 0]
    assert len(set(ranked.tolist())) == len(ranked)
    np.testing.assert_allclose(scores[: len(ranked)], truth[ranked], atol=GAP)
    best = -np.sort(-truth[np.isfinite(truth)])[: len(items)]
    assert len(ranked) == len(best)
    np.testing.assert_allclose(truth[ranked], best, atol=GAP)


def search(
    model: nn.Module, identifiers: list[list[int]], prompts: list[list[int]], **options: Any
) -> Searched:
    defaults: dict[str, Any] = {"k": 10, "tie": np.arange(len(identifiers)), "plan": FULL}
    return search_exact(model, Trie.build(identifiers), prompts, **(defaults | options))


@pytest.mark.parametrize("normalise", ["vocab", "children"])
@pytest.mark.parametrize(
    "identifiers", [codes(400), titles(300), long_titles(120)], ids=["codes", "titles", "long titles"]
)
def test_top_k_equals_scoring_every_item_on_its_own(identifiers: list[list[int]], normalise: Any) -> None:
    model, prompts = llama(0), random_prompts(12)
    trie = Trie.build(identifiers)
    found = search(model, identifiers, prompts, plan=SearchPlan(normalise=normalise, width=8, batch=5))
    assert found.certified.all()
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, trie, identifiers, prompt, normalise)
        assert_equals_brute_force(found.items[row], truth, found.scores[row])


def test_fifty_users_are_ranked_as_by_scoring_every_item_but_for_gaps_below_1e_5() -> None:
    identifiers, model, prompts = codes(120, per_level=9), llama(10), random_prompts(50, seed=10)
    trie = Trie.build(identifiers)
    found = search(model, identifiers, prompts, k=20, plan=SearchPlan(width=8, batch=16))
    assert found.certified.all()
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, trie, identifiers, prompt, "vocab")
        place = np.argsort(np.argsort(-truth, kind="stable"))[found.items[row]]  # in the brute-force order
        moved = place != np.arange(20)
        best = -np.sort(-truth)[:20]
        assert (np.abs(truth[found.items[row]] - best)[moved] < GAP).all()
        np.testing.assert_allclose(found.scores[row], best, atol=GAP)


@pytest.mark.parametrize("width", [1, 5, 400])
def test_runs_are_read_whole_or_in_pieces_with_the_same_result(width: int) -> None:
    identifiers, model, prompts = long_titles(40), llama(9, 12.0), random_prompts(4)
    trie = Trie.build(identifiers)
    num_prefixes = int((trie.num_children > 0).sum()) - 1  # the root is not fed
    # all 40 are ranked, so that every prefix must be expanded once, whatever the order
    found = search(model, identifiers, prompts, k=40, plan=SearchPlan(width=width, budget=10_000))
    assert found.certified.all()
    assert (found.stats["nodes"] == num_prefixes).all()
    assert (found.stats["rounds"] >= -(-num_prefixes // width)).all()
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, trie, identifiers, prompt, "vocab")
        assert_equals_brute_force(found.items[row], truth, found.scores[row])


def test_titles_that_part_at_once_need_two_rounds_however_long_they_are() -> None:
    identifiers = [[first, *range(20, 40), EOS] for first in range(2, 8)]
    model, prompts = llama(0, 12.0), random_prompts(5)
    found = search(model, identifiers, prompts, k=6, plan=SearchPlan(width=6 * 21))
    assert found.certified.all()
    # the first round learns what a forced token costs, the second reads six runs to their ends
    assert found.stats["rounds"].tolist() == [2] * 5
    assert found.stats["nodes"].tolist() == [6 * 21] * 5
    # normalised on the children the first token decides, and no forward pass is needed
    found = search(model, identifiers, prompts, k=6, plan=SearchPlan(normalise="children"))
    assert found.certified.all()
    assert found.stats["rounds"].tolist() == [0] * 5


def bigrams(likely: list[list[int]], by: float, *, seed: int = 0) -> Any:
    """A Llama that predicts from the last token alone, with the successions in `likely` raised by `by`."""
    config = LlamaConfig(
        **{**SMALL, "hidden_size": VOCAB, "num_hidden_layers": 1, "num_attention_heads": 2},
        intermediate_size=4,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config)
    successor = torch.from_numpy(np.random.default_rng(seed).normal(size=(VOCAB, VOCAB))).float()
    for text in likely:
        successor[text[:-1], text[1:]] += by
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(VOCAB))
        model.lm_head.weight.copy_(
            successor.T / VOCAB**0.5
        )  # the last norm scales one to the root of its width
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
    return model.eval()


@pytest.mark.parametrize("by", [0.0, 12.0], ids=["unsure of forced tokens", "sure of them"])
def test_runs_are_read_ahead_only_by_a_model_that_is_sure_of_them(by: float) -> None:
    identifiers = [[2, 3 + item % 6, *range(20 + 6 * item, 26 + 6 * item), EOS] for item in range(40)]
    trie, prompts = Trie.build(identifiers), [[5, 2], [7, 8, 9]]
    model = bigrams(identifiers, by)
    token_by_token = replace(trie, run_end=np.arange(len(trie)))
    options: dict[str, Any] = {"k": 4, "tie": np.arange(40), "plan": SearchPlan(width=16)}
    ahead = search_exact(model, trie, prompts, **options)
    before = search_exact(model, token_by_token, prompts, **options)
    assert ahead.certified.all()
    assert ahead.items.tolist() == before.items.tolist()
    np.testing.assert_allclose(ahead.scores, before.scores, atol=GAP)
    assert (ahead.stats["nodes"] <= before.stats["nodes"]).all()
    if by:
        assert (ahead.stats["rounds"] < before.stats["rounds"]).all()
        assert (before.stats["rounds"] >= 8).all()  # as many as a title has tokens before its end
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, trie, identifiers, prompt, "vocab")
        assert_equals_brute_force(ahead.items[row], truth, ahead.scores[row])


def test_a_budget_that_ends_inside_a_run_is_kept_and_gives_no_certificate() -> None:
    identifiers = [[first, *range(20, 40), EOS] for first in range(2, 8)]
    for limit, nodes in ((6 * 21, 30 + 6 * 21), (6 * 21 - 1, 30)):  # all 126 prefixes may be fed, or not
        plan = SearchPlan(width=8, budget=30, exhaustive_nodes=limit)
        found = search(llama(0, 12.0), identifiers, random_prompts(3), k=6, plan=plan)
        assert (found.stats["nodes"] >= nodes).all()
        assert found.certified.all() == (nodes > 30)


def test_search_expands_only_a_part_of_the_trie() -> None:
    identifiers = codes(600)
    trie = Trie.build(identifiers)
    found = search(llama(1), identifiers, random_prompts(8), plan=SearchPlan(normalise="children", width=8))
    assert found.certified.all()
    assert found.stats["nodes"].max() < 0.2 * (trie.num_children > 0).sum()
    assert (found.stats["rounds"] >= 1).all()
    assert (found.stats["nodes"] <= 8 * found.stats["rounds"]).all()


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 8.0, 40.0])
def test_certificates_are_never_false(sharpness: float) -> None:
    for seed in range(6):
        draw = (titles, codes, long_titles)[seed % 3]
        identifiers = codes(80, per_level=6, seed=seed) if draw is codes else draw(80, seed=seed)
        model, prompts = llama(seed, sharpness), random_prompts(3, seed)
        trie = Trie.build(identifiers)
        for budget, limit in ((5, 0), (40, 0), (5, 50_000), (1000, 0)):
            plan = SearchPlan(width=4, budget=budget, exhaustive_nodes=limit)
            found = search(model, identifiers, prompts, k=7, plan=plan)
            assert found.certified.all() or limit == 0
            for row in np.flatnonzero(found.certified):
                truth = brute_force(model, trie, identifiers, prompts[row], "vocab")
                assert_equals_brute_force(found.items[row], truth, found.scores[row])


def test_a_request_past_its_budget_keeps_its_best_list_uncertified() -> None:
    identifiers = codes(300)
    found = search(
        llama(2, 1.0), identifiers, random_prompts(4), plan=SearchPlan(budget=20, width=8, exhaustive_nodes=0)
    )
    assert not found.certified.any()
    assert (found.stats["nodes"] == 20).all()
    found = search(
        llama(2, 1.0),
        identifiers,
        random_prompts(4),
        plan=SearchPlan(budget=60, width=20, exhaustive_nodes=0),
    )
    assert not found.certified.any()


@pytest.mark.parametrize("limit", [0, 50_000])
def test_a_request_past_its_budget_gains_no_certificate_while_its_batch_goes_on(limit: int) -> None:
    identifiers, model, prompts = codes(30), llama(0), random_prompts(6)
    # The first two may be given all 30 items and spend their 60 nodes while the other four still search.
    allowed = Ragged.of([list(range(size)) for size in (30, 30, 10, 7, 6, 6)])
    plan = SearchPlan(width=30, budget=60, batch=6, exhaustive_nodes=limit)
    found = search(model, identifiers, prompts, plan=plan, allowed=allowed)
    assert found.certified.tolist() == [limit > 0, limit > 0, True, True, True, True]
    trie = Trie.build(identifiers)
    for row in np.flatnonzero(found.certified).tolist():
        truth = np.full(30, -np.inf)
        truth[allowed[row]] = brute_force(model, trie, identifiers, prompts[row], "vocab")[allowed[row]]
        assert_equals_brute_force(found.items[row], truth, found.scores[row])


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
    found = search(model, identifiers, [[3, 4]], k=6, tie=tie_order(popularity))
    # item 4 has two tokens and comes first; the other five tie: 3 (9 times), 1 and 2 (5), 5 (2), 0 (1)
    assert found.items.tolist() == [[4, 3, 1, 2, 5, 0]]
    expected = [-2 * np.log(300), *[-3 * np.log(300)] * 5]
    np.testing.assert_allclose(found.scores[0], expected, atol=1e-5)
    # cut inside the tie, the more popular items stay
    assert search(model, identifiers, [[3, 4]], k=2, tie=tie_order(popularity)).items.tolist() == [[4, 3]]
    assert search(model, identifiers, [[3, 4]], k=3, tie=tie_order(popularity)).items.tolist() == [[4, 3, 1]]


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


def test_places_beyond_the_last_item_are_padded() -> None:
    identifiers = codes(7)
    found = search(llama(5), identifiers, random_prompts(3), k=10)
    assert found.certified.all()
    assert (found.items[:, 7:] == -1).all()
    assert np.isnan(found.scores[:, 7:]).all()
    assert np.sort(found.items[:, :7]).tolist() == [list(range(7))] * 3


@pytest.mark.parametrize("budget", [10_000, 3])
def test_candidates_and_masks_restrict_items_and_change_no_score(budget: int) -> None:
    identifiers, model, prompts = codes(200), llama(6), random_prompts(6)
    rng = np.random.default_rng(0)
    allowed = Ragged.of([rng.choice(200, size, replace=False) for size in (200, 60, 12, 4, 1, 0)])
    excluded = Ragged.of([rng.choice(200, 30, replace=False) for _ in prompts])
    found = search(
        model,
        identifiers,
        prompts,
        k=8,
        plan=SearchPlan(budget=budget, width=8),
        allowed=allowed,
        excluded=excluded,
    )
    assert found.certified.all()
    requests = Requests(user=np.arange(6), history=Ragged.of([[0]] * 6), allowed=allowed, excluded=excluded)
    Ranking(items=found.items, scores=found.scores).check(requests, num_items=200, depth=8)
    trie = Trie.build(identifiers)
    for row, prompt in enumerate(prompts):
        truth = np.full(200, -np.inf)
        open_items = np.setdiff1d(allowed[row], excluded[row])
        truth[open_items] = brute_force(model, trie, identifiers, prompt, "vocab")[open_items]
        assert_equals_brute_force(found.items[row], truth, found.scores[row])


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
    found = search(model, identifiers, prompts, k=5, plan=SearchPlan(width=8))
    assert found.certified.all()
    assert model.training == (family == "llama-peft")  # the mode it came in
    model.eval()
    for row, prompt in enumerate(prompts):
        truth = brute_force(model, Trie.build(identifiers), identifiers, prompt, "vocab")
        assert_equals_brute_force(found.items[row], truth, found.scores[row])


def backbone_with(kind: str) -> Any:
    grouped = {**SMALL, "num_key_value_heads": 2, "intermediate_size": 64}
    if kind == "layers with a window":
        return Qwen2ForCausalLM(
            Qwen2Config(**grouped, use_sliding_window=True, sliding_window=4, max_window_layers=1)
        )
    if kind == "a window in every layer":
        return MistralForCausalLM(MistralConfig(**grouped, sliding_window=4))
    model = llama(0)
    model.config._attn_implementation = "flash_attention_2"  # as it is where flash-attn is installed
    return model


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("layers with a window", "sliding_attention"),
        ("a window in every layer", "sliding_attention"),
        ("flash attention", "flash_attention_2"),
    ],
)
def test_models_that_cannot_take_a_tree_mask_are_refused(kind: str, named: str) -> None:
    model = backbone_with(kind)
    with pytest.raises(UsageError, match=named):
        check_tree_attention(model)
    with pytest.raises(UsageError, match=named):
        search(model, codes(10), random_prompts(1))


def test_models_that_see_the_whole_prompt_take_a_tree_mask() -> None:
    grouped = {**SMALL, "num_key_value_heads": 2, "intermediate_size": 64}
    check_tree_attention(llama(0))
    check_tree_attention(Qwen2ForCausalLM(Qwen2Config(**grouped, sliding_window=4)))  # not switched on
    check_tree_attention(MistralForCausalLM(MistralConfig(**grouped, sliding_window=None)))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_packed_tree_gives_each_branch_the_logits_that_it_has_alone(implementation: str) -> None:
    model = llama(0)
    model.set_attn_implementation(implementation)
    texts = [[5, 6, 7, 8, 9, 10], [5, 6, 7, 20, 21, 22], [5, 6, 7, 20, 30]]
    row = prefix_tree([(text, 4) for text in texts])
    assert not row.is_chain
    visible = torch.from_numpy(row.mask())[None, None]
    with torch.no_grad():
        packed = model(
            input_ids=torch.from_numpy(row.input_ids)[None],
            position_ids=torch.from_numpy(row.position)[None],
            attention_mask=tree_mask(model, visible),
        ).logits[0, torch.from_numpy(row.predictor)]
        alone = [model(input_ids=torch.tensor([text])).logits[0, 3:-1] for text in texts]
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-4, rtol=0)


def test_progress_counts_the_requests_done() -> None:
    seen: list[int] = []
    search(llama(9), codes(20), random_prompts(5), plan=SearchPlan(batch=2), progress=seen.append)
    assert seen == [2, 4, 5]
