"""Ranking by scores against brute force, and what `Ranking.check` refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recbench.data import Ints, Ragged, Requests
from recbench.errors import CheckError
from recbench.ranking import Ranking, rank_by_scores, tie_order

NUM_ITEMS = 6
SCORE = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])
SUBSET = st.lists(st.integers(0, NUM_ITEMS - 1), unique=True, max_size=NUM_ITEMS)


def asked(allowed: list[list[int]] | None = None, excluded: list[list[int]] | None = None) -> Requests:
    rows = len(allowed or excluded or [[]])
    return Requests(
        user=np.arange(rows),
        history=Ragged.of([[0]] * rows),
        allowed=None if allowed is None else Ragged.of(allowed),
        excluded=None if excluded is None else Ragged.of(excluded),
    )


def brute_force(
    scores: list[float], popularity: list[int], k: int, allowed: list[int], excluded: list[int]
) -> list[int]:
    """Sort (score, popularity, item) of what may be ranked, and pad."""
    candidates = [i for i in allowed if i not in excluded and scores[i] > -np.inf]
    best = sorted(candidates, key=lambda i: (-scores[i], -popularity[i], i))[:k]
    return best + [-1] * (k - len(best))


@given(
    st.lists(st.tuples(st.lists(SCORE, min_size=6, max_size=6), SUBSET, SUBSET), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
    st.integers(1, 9),
)
def test_rank_by_scores_equals_sorting_each_row(
    rows: list[tuple[list[float], list[int], list[int]]], popularity: list[int], k: int
) -> None:
    scores = [row[0] for row in rows]
    allowed, excluded = [row[1] for row in rows], [row[2] for row in rows]
    items, values = rank_by_scores(
        np.array(scores), np.array(popularity), k=k, requests=asked(allowed, excluded)
    )
    expected = [
        brute_force(s, popularity, k, a, e) for s, a, e in zip(scores, allowed, excluded, strict=True)
    ]
    assert items.tolist() == expected
    for row, ranked in enumerate(expected):
        for place, item in enumerate(ranked):
            assert np.isnan(values[row, place]) if item < 0 else values[row, place] == scores[row][item]


@pytest.mark.parametrize("distinct", [2, 40, 10_000])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("most", [None, 0, 5, 200])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8)
def test_a_large_catalogue_is_ranked_as_by_sorting(
    kind: Any, distinct: int, most: int | None, seed: int
) -> None:
    """With few items near the top or many alike, and rows and masks of which some have next to nothing."""
    rng = np.random.default_rng(seed)
    rows, num_items, k = 7, int(rng.integers(400, 500)), int(rng.integers(1, 9))
    scores = rng.integers(-distinct // 2, distinct, (rows, num_items)).astype(kind)
    if kind is not np.int64:
        scores[rng.random(scores.shape) < 0.1] = -np.inf
        scores[rng.random(scores.shape) < 0.1] = np.nan
        scores[0] = -np.inf
        scores[1, 3:] = np.nan
    popularity = rng.integers(0, 5, num_items)
    masks = [rng.integers(num_items, size=rng.integers(0, (most or 0) + 1)).tolist() for _ in range(rows)]
    found, values = rank_by_scores(
        scores, popularity, k=k, requests=asked(excluded=None if most is None else masks)
    )
    everything = list(range(num_items))
    for row, (items, mask) in enumerate(zip(found.tolist(), masks, strict=True)):
        assert items == brute_force(scores[row].tolist(), popularity.tolist(), k, everything, mask)
        ranked = [item for item in items if item >= 0]
        assert values[row, : len(ranked)].tolist() == scores[row, ranked].tolist()
        assert np.isnan(values[row, len(ranked) :]).all()


@given(st.lists(st.lists(SCORE, min_size=6, max_size=6), min_size=1, max_size=4), st.integers(1, 9))
def test_whatever_is_ranked_by_scores_passes_the_check(scores: list[list[float]], k: int) -> None:
    requests = Requests(user=np.arange(len(scores)), history=Ragged.of([[0]] * len(scores)))
    items, _ = rank_by_scores(np.array(scores), np.zeros(6, dtype=np.int64), k=k, requests=requests)
    Ranking(items=items).check(requests, num_items=NUM_ITEMS, depth=k)


def test_ties_go_to_the_popular_item_then_to_the_lower_number() -> None:
    popularity = np.array([1, 5, 5, 0])
    assert tie_order(popularity).tolist() == [1, 2, 0, 3]
    items, _ = rank_by_scores(np.zeros((1, 4)), popularity, k=3)
    assert items.tolist() == [[1, 2, 0]]


def test_ranking_by_scores_leaves_the_scores_as_they_were() -> None:
    scores = np.array([[1.0, 2.0, 3.0]])
    rank_by_scores(scores, np.zeros(3, dtype=np.int64), k=2, requests=asked(excluded=[[2]]))
    assert scores.tolist() == [[1.0, 2.0, 3.0]]


def test_a_row_longer_than_the_catalogue_is_padded() -> None:
    items, values = rank_by_scores(np.array([[0.1, 0.2]]), np.zeros(2, dtype=np.int64), k=4)
    assert items.tolist() == [[1, 0, -1, -1]]
    np.testing.assert_array_equal(values, [[0.2, 0.1, np.nan, np.nan]])


def ranked(*rows: list[int]) -> Ints:
    array: NDArray[Any] = np.array(rows, dtype=np.int64)
    return array


TWO = Requests(user=np.arange(2), history=Ragged.of([[0], [0]]))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (ranked([0, 1, 2]), "has shape"),  # one row for two requests
        (ranked([0, 1], [0, 1]), "has shape"),  # two places, depth three
        (np.zeros(6, dtype=np.int64), "has shape"),
        (ranked([0, 1, 2], [0, 1, 6]), "row 1 .* outside the catalogue"),
        (ranked([0, -2, 1], [0, 1, 2]), "row 0 .* outside the catalogue"),
        (ranked([0, 1, 2], [0, -1, 2]), "row 1 .* padded place before a real item"),
        (ranked([0, 1, 0], [0, 1, 2]), "row 0 .* twice"),
    ],
)
def test_check_refuses(items: Ints, message: str) -> None:
    with pytest.raises(CheckError, match=message):
        Ranking(items=items).check(TWO, num_items=NUM_ITEMS, depth=3)


def test_check_refuses_a_masked_item_of_that_row_only() -> None:
    requests = asked(excluded=[[5], [1]])
    Ranking(items=ranked([1, 2], [5, 2])).check(requests, num_items=NUM_ITEMS, depth=2)
    with pytest.raises(CheckError, match=r"row 1 .* masks"):
        Ranking(items=ranked([0, 2], [0, 1])).check(requests, num_items=NUM_ITEMS, depth=2)


def test_check_refuses_an_item_outside_the_candidates_of_that_row() -> None:
    requests = asked(allowed=[[0, 1], [2]])
    Ranking(items=ranked([1, 0], [2, -1])).check(requests, num_items=NUM_ITEMS, depth=2)
    with pytest.raises(CheckError, match=r"row 1 .* candidates"):
        Ranking(items=ranked([1, 0], [0, -1])).check(requests, num_items=NUM_ITEMS, depth=2)


def test_check_accepts_padding_at_the_tail_and_empty_rows() -> None:
    Ranking(items=ranked([3, -1, -1], [-1, -1, -1])).check(TWO, num_items=NUM_ITEMS, depth=3)


def test_check_counts_all_offending_rows() -> None:
    with pytest.raises(CheckError) as refused:
        Ranking(items=ranked([0, 0], [1, 1])).check(TWO, num_items=NUM_ITEMS, depth=2)
    assert "2 rows in all" in str(refused.value)


@pytest.mark.parametrize(
    "items", [np.array([[0.0, 1.0]]), np.array([[0.2, 1.9]]), np.array([["0", "1"]]), [[0, 1]]]
)
def test_check_refuses_items_that_are_no_integers_before_they_are_cast(items: Any) -> None:
    with pytest.raises(CheckError, match="items of type"):
        Ranking(items=items).check(asked([[0, 1]]), num_items=NUM_ITEMS, depth=2)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"scores": np.array([[1.0, np.inf]])}, "row 0 .* not finite"),
        ({"scores": np.array([[np.nan, 1.0]])}, "row 0 .* not finite"),
        ({"scores": np.array([1.0, 0.5])}, "scores have shape"),
        ({"scores": np.array([["1", "0"]])}, "scores are of type"),
        ({"certified": np.array([1.0])}, "certificates are float64"),
        ({"certified": np.array([True, False])}, "certificates are bool of shape"),
    ],
)
def test_check_refuses_scores_and_certificates_that_are_none(claims: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckError, match=message):
        Ranking(items=ranked([0, 1]), **claims).check(asked([[0, 1]]), num_items=NUM_ITEMS, depth=2)


def test_check_accepts_a_padded_place_without_a_score() -> None:
    whole = Ranking(items=ranked([0, -1]), scores=np.array([[1.0, np.nan]]), certified=np.array([True]))
    whole.check(asked([[0, 1]]), num_items=NUM_ITEMS, depth=2)
