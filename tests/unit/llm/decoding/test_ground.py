"""Grounding: distances, injected scores, the choice of gamma, and rankings of written titles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from recbench.data import Examples, Ints, Ragged, Requests
from recbench.errors import CheckError
from recbench.llm.decoding.ground import (
    GAMMAS,
    choose_gamma,
    inject,
    l2_distances,
    min_max,
    rank_by_vectors,
    search_ground,
    title_of,
)
from recbench.llm.items.encoders import HiddenStateEncoder, TextEncoder, TfidfSvdEncoder
from recbench.llm.model.backbone import new_tokenizer
from recbench.ranking import Ranking, tie_order
from recbench.results import metrics


def requests_of(num: int, **lists: Ragged) -> Requests:
    return Requests(user=np.arange(num), history=Ragged.of([[0]] * num), **lists)


def drawn(num_requests: int, num_items: int, width: int = 6, seed: int = 0) -> tuple[Any, Any, Any]:
    """Queries, item vectors of which some are equal, and scores to inject."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(num_items, width)).astype(np.float32)
    vectors[num_items // 2 :: 3] = vectors[0]
    queries = rng.normal(size=(num_requests, width)).astype(np.float32)
    queries[0] = vectors[0]
    return queries, vectors, rng.normal(size=(num_requests, num_items))


def test_injection_on_numbers() -> None:
    distance, scores = np.array([[2.0, 5.0, 3.0, 6.0]]), np.array([[0.1, 0.9, 0.5, 0.3]])
    # the distances begin at 2 and span 4, the scores begin at 0.1 and span 0.8
    np.testing.assert_allclose(min_max(distance), [[0, 0.75, 0.25, 1]])
    np.testing.assert_allclose(min_max(scores), [[0, 1, 0.5, 0.25]])
    # 0.75 / 2, 0.25 / 1.5, 1 / 1.25; then the same to the third power
    np.testing.assert_allclose(inject(distance, scores, 1.0), [[0, 0.375, 1 / 6, 0.8]])
    np.testing.assert_allclose(inject(distance, scores, 3.0), [[0, 0.09375, 0.25 / 3.375, 0.512]])
    np.testing.assert_allclose(inject(distance, scores, 0.0), min_max(distance))


def test_a_row_of_equal_values_has_no_spread_and_scores_must_be_finite() -> None:
    assert min_max(np.full((1, 3), 7.0)).tolist() == [[0, 0, 0]]
    for wrong in (np.nan, -np.inf):
        with pytest.raises(CheckError, match="not finite"):
            min_max(np.array([[1.0, wrong]]))


@given(st.integers(0, 10_000), st.sampled_from([1e-3, 1.0, 1e3]))
def test_distances_equal_cdist(seed: int, scale: float) -> None:
    queries, vectors, _ = drawn(7, 11, seed=seed)
    queries, vectors = scale * queries, scale * vectors
    exact = torch.cdist(torch.from_numpy(queries).double(), torch.from_numpy(vectors).double()).numpy()
    # a distance of 0 is a difference of equal norms, so what is left is the root of a rounding error
    np.testing.assert_allclose(l2_distances(queries, vectors), exact, rtol=1e-9, atol=1e-6 * scale)


def test_near_neighbours_far_from_the_origin_keep_their_order() -> None:
    centre = np.full(4096, 3.0, dtype=np.float32)  # of norm 192, as hidden states are
    vectors = centre + np.array([[4e-4], [1e-4], [3e-4], [2e-4]], dtype=np.float32)
    assert np.argsort(l2_distances(centre[None], vectors)[0]).tolist() == [1, 3, 2, 0]


def test_items_of_equal_vectors_stand_in_tie_order_wherever_they_are() -> None:
    for num_items in (9, 30, 257):
        queries, vectors, _ = drawn(4, num_items)
        popularity = np.random.default_rng(1).integers(0, 3, num_items)
        items, scores = rank_by_vectors(
            queries, vectors, requests=requests_of(4), popularity=popularity, k=num_items
        )
        equal = np.flatnonzero((vectors == vectors[0]).all(1))
        expected = [item for item in tie_order(popularity).tolist() if item in set(equal.tolist())]
        assert items[0, : len(equal)].tolist() == expected
        for row in range(4):
            places = np.flatnonzero(np.isin(items[row], equal))
            assert (np.diff(places) == 1).all()
            assert items[row, places].tolist() == expected
            assert len(set(scores[row, places].tolist())) == 1
            assert (np.diff(scores[row]) <= 0).all()


def test_ranks_are_those_of_the_whole_distance_matrix_in_any_chunks() -> None:
    queries, vectors, injected = drawn(1400, 1600)  # more than one chunk of distances
    popularity = np.arange(1600) % 7
    masked = np.random.default_rng(2).integers(0, 1600, (1400, 5))
    requests = requests_of(1400, excluded=Ragged.of(list(masked)))
    for gamma in (0.0, 2.0):
        result, scores = rank_by_vectors(
            queries, vectors, requests=requests, popularity=popularity, k=10, injected=injected, gamma=gamma
        )
        distance = torch.cdist(torch.from_numpy(queries).double(), torch.from_numpy(vectors).double()).numpy()
        if gamma:
            distance = inject(distance, injected, gamma)
        np.put_along_axis(distance, masked, np.inf, axis=1)
        nearest = np.sort(distance, axis=1)[:, :10]
        np.testing.assert_allclose(np.take_along_axis(distance, result, axis=1), nearest, atol=1e-6)
        np.testing.assert_allclose(-scores, nearest, atol=1e-6)
        Ranking(items=result, scores=scores).check(requests, num_items=1600, depth=10)


def test_vectors_that_are_not_numbers_are_refused() -> None:
    queries, vectors, _ = drawn(3, 5)
    queries[1, 2] = np.nan
    with pytest.raises(CheckError, match="not numbers"):
        rank_by_vectors(queries, vectors, requests=requests_of(3), popularity=np.zeros(5, dtype=int), k=2)


@pytest.mark.parametrize("shared", [False, True], ids=["scores of each request", "scores of the items"])
def test_gamma_is_chosen_by_the_ndcg_of_the_injected_rankings(shared: bool) -> None:
    num, grid = 60, (0.0, 0.5, 3.0, 40.0)
    queries, vectors, injected = drawn(num, 40, seed=3)
    injected = injected[:1] if shared else injected
    rng = np.random.default_rng(4)
    target, popularity = rng.integers(0, 40, num), rng.integers(0, 5, 40)
    excluded = Ragged.of([rng.choice(40, 6, replace=False) for _ in range(num)])
    valid = Examples(requests=requests_of(num, excluded=excluded), target=target)
    chosen = choose_gamma(queries, vectors, injected, valid, popularity=popularity, grid=grid)
    expected = []
    for gamma in grid:
        items, _ = rank_by_vectors(
            queries,
            vectors,
            requests=valid.requests,
            popularity=popularity,
            k=10,
            injected=injected,
            gamma=gamma,
        )
        hit = items == target[:, None]
        ranks = np.where(hit.any(1), hit.argmax(1) + 1, 0)
        expected.append(metrics.per_request(ranks, "ndcg@10").mean())
    np.testing.assert_allclose(chosen.ndcg, expected, rtol=1e-12)
    assert chosen.gamma == grid[int(np.argmax(expected))]


def test_gamma_is_0_where_the_scores_mislead_and_above_where_they_know() -> None:
    num_items = 30
    vectors = np.arange(num_items, dtype=np.float32)[:, None]
    queries = np.zeros((num_items, 1), dtype=np.float32)  # item 0 is the nearest to everybody
    target: Ints = np.arange(num_items)
    valid = Examples(requests=requests_of(num_items), target=target)
    popularity = np.zeros(num_items, dtype=np.int64)
    known = np.eye(num_items)
    assert choose_gamma(queries, vectors, known, valid, popularity=popularity).gamma > 0
    assert choose_gamma(queries, vectors, -known, valid, popularity=popularity).gamma == 0
    assert GAMMAS[0] == 0
    assert max(GAMMAS) == 99


TITLES = [
    'The "Old" Lamp',
    "Lamp",
    "Lamp",  # a duplicate
    "Lamp: the chair",
    "Ünïcode ☂ box",
    '"Quoted"',
    "Green table for eight",
    "Spaces  kept",
]


def small_model(vocabulary: int) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=128,
        initializer_range=0.08,
    )
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def written() -> tuple[Any, Any, list[list[int]]]:
    """A model that has learned to answer prompt i with title i, and the prompts."""
    tokenizer = new_tokenizer(TITLES)
    model = small_model(len(tokenizer))
    prompts = [tokenizer("u" * (1 + i % 3) + str(i))["input_ids"] for i in range(8)]
    answers = [
        [*tokenizer(f'"{title}"', add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        for title in TITLES
    ]
    width = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    tokens = torch.full((8, width), tokenizer.pad_token_id)
    labels = torch.full((8, width), -100)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        tokens[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loss = torch.tensor(torch.inf)
    for _ in range(30):
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    assert loss.item() < 0.1
    return model.eval(), tokenizer, prompts


def test_decoded_titles_lose_their_quotes_and_nothing_else(written: Any) -> None:
    _, tokenizer, _ = written
    for title in TITLES:
        tokens = tokenizer(f'"{title}"', add_special_tokens=False)["input_ids"]
        assert title_of(tokenizer, tokens) == title
    assert title_of(tokenizer, tokenizer(' "cut off', add_special_tokens=False)["input_ids"]) == "cut off"
    assert title_of(tokenizer, []) == ""


@pytest.mark.parametrize("kind", ["tfidf", "hidden states"])
def test_a_model_that_writes_a_catalogue_title_has_that_item_first(written: Any, kind: str) -> None:
    model, tokenizer, prompts = written
    encoder: TextEncoder = (
        TfidfSvdEncoder.fit(TITLES, dim=16, seed=0)
        if kind == "tfidf"
        else HiddenStateEncoder(model, tokenizer, digest="d")
    )
    popularity = np.array([0, 1, 5, 0, 0, 0, 0, 0])
    options: dict[str, Any] = {
        "encoder": encoder,
        "titles": TITLES,
        "vectors": encoder.encode(TITLES),
        "popularity": popularity,
        "max_new": 40,
        "beam": 2,
        "batch": 3,
    }
    result = search_ground(model, tokenizer, prompts, requests=requests_of(8), k=8, **options)
    assert result.texts == TITLES
    assert result.items[:, 0].tolist() == [0, 2, 2, 3, 4, 5, 6, 7]  # of two lamps the popular one
    assert result.items[1, 1] == 1
    np.testing.assert_allclose(result.scores[:, 0], 0, atol=1e-5)
    assert result.stats["exact_titles"].tolist() == [1] * 8
    lengths = [len(tokenizer(f'"{title}"', add_special_tokens=False)["input_ids"]) + 1 for title in TITLES]
    assert result.stats["generated_tokens"].tolist() == lengths
    Ranking(items=result.items, scores=result.scores, certified=result.certified).check(
        requests_of(8), num_items=8, depth=8
    )
    masked = requests_of(8, excluded=Ragged.of([[2]] * 8))
    assert search_ground(model, tokenizer, prompts, requests=masked, k=3, **options).items[1, 0] == 1
    # a strong pull towards one item moves it to the second place, never before the nearest
    pulled = np.eye(8)[[6]]
    strong = search_ground(
        model, tokenizer, prompts, requests=requests_of(8), k=3, injected=pulled, gamma=90.0, **options
    )
    assert strong.items[:, 0].tolist() == result.items[:, 0].tolist()
    assert (strong.items[[0, 3, 4, 5, 7], 1] == 6).all()
    cut = search_ground(model, tokenizer, prompts, requests=requests_of(8), k=3, **{**options, "max_new": 2})
    assert cut.stats["generated_tokens"].tolist() == [2] * 8
    assert cut.stats["exact_titles"][[0, 4, 5, 6, 7]].sum() == 0
