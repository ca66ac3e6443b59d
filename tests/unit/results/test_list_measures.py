from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.results import list_measures
from recbench.results.request_features import Context, number_labels


def context(popularity: list[int], categories: list[str], history: list[float]) -> Context:
    return Context(
        item_popularity=np.array(popularity),
        item_labels=number_labels(categories),
        target_popularity=np.zeros(len(history)),
        history_length=np.zeros(len(history)),
        history_popularity=np.array(history),
    )


def test_coverage_counts_each_item_once_and_no_padding() -> None:
    items = np.array([[0, 1, -1], [1, 2, 3]])
    assert list_measures.coverage(items, 8) == 4 / 8
    assert list_measures.coverage(np.full((2, 3), -1), 8) == 0.0


def test_mean_popularity_is_over_filled_places() -> None:
    items, popularity = np.array([[0, 1, -1], [1, 2, 0]]), np.array([10, 4, 1])
    assert list_measures.mean_popularity(items, popularity) == (10 + 4 + 4 + 1 + 10) / 5
    assert list_measures.mean_popularity(np.full((2, 3), -1), popularity) == 0.0


def test_gini_is_zero_for_equal_exposure_and_largest_for_one_item() -> None:
    assert list_measures.gini(np.array([[0, 1], [2, 3]]), 4) == 0.0
    assert list_measures.gini(np.array([[2], [2], [2]]), 4) == pytest.approx(1 - 1 / 4)
    assert list_measures.gini(np.full((1, 2), -1), 4) == 0.0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_gini_is_half_the_mean_absolute_difference_over_the_mean(shown: list[int]) -> None:
    counts = np.bincount(shown, minlength=6)
    expected = np.abs(counts[:, None] - counts).mean() / 2 / counts.mean()
    assert list_measures.gini(np.array([shown]), 6) == pytest.approx(expected)


def test_lists_that_repeat_the_taste_of_their_users_have_no_lift() -> None:
    popularity = np.array([10, 4, 1])
    # lists of mean popularity 7 and 1, histories of 6 and 2: both 4 in the mean
    assert list_measures.popularity_lift(np.array([[0, 1], [2, -1]]), popularity, np.array([6.0, 2.0])) == 0.0
    # twice as popular as the history; the empty list is left out
    assert list_measures.popularity_lift(
        np.array([[0], [-1]]), popularity, np.array([5.0, 99.0])
    ) == pytest.approx(1.0)
    assert list_measures.popularity_lift(np.array([[0]]), popularity, np.array([0.0])) is None


def test_labels_are_the_parts_of_a_path_or_words() -> None:
    labels = number_labels(["Toys & Games > Dolls", "Toys & Games", "Drama War", ""])
    # sorted: "&" 0, "Dolls" 1, "Drama" 2, "Games" 3, "Toys" 4, "Toys & Games" 5, "War" 6
    assert labels.tolist() == [[5, 1, -1], [4, 0, 3], [2, 6, -1], [-1, -1, -1]]


def test_diversity_is_the_mean_distance_of_the_labels_of_a_lists_items() -> None:
    labels = number_labels(["A > B", "A > C", "D", "", "A > B"])
    # items 0 and 1 share one of three labels, 2 shares none: (2/3 + 1 + 1) / 3
    assert list_measures.diversity(np.array([[0, 1, 2]]), labels) == pytest.approx((2 / 3 + 1 + 1) / 3)
    # an item without labels and padding make no pair; equal labels are no distance
    assert list_measures.diversity(np.array([[0, 3, 4]]), labels) == 0.0
    assert list_measures.diversity(np.array([[0, 1, -1], [3, 3, 3]]), labels) == pytest.approx(2 / 3)
    assert list_measures.diversity(np.array([[0]]), labels) is None
    assert list_measures.diversity(np.array([[0, 1]]), number_labels(["", ""])) is None


@given(st.integers(0, 2**32 - 1))
def test_diversity_agrees_with_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    categories = [" ".join(rng.choice(list("abcde"), rng.integers(1, 4), replace=False)) for _ in range(6)]
    items = np.array([rng.permutation(6)[:4] for _ in range(3)])
    sets = [set(text.split()) for text in categories]
    by_hand = [
        np.mean([1 - len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in combinations(row, 2)])
        for row in items.tolist()
    ]
    assert list_measures.diversity(items, number_labels(categories)) == pytest.approx(np.mean(by_hand))


def test_summary_looks_at_the_places_above_the_cutoff() -> None:
    items = np.array([[0, 1], [0, -1]])
    found = list_measures.summary(items, context([10, 4, 2, 1], ["x", "y", "", ""], [10.0, 10.0]), (1, 2))
    assert found == {
        "coverage@1": 1 / 4,
        "gini@1": pytest.approx(3 / 4),
        "popularity@1": 10.0,
        "invalid@1": 0.0,
        "popularity_lift@1": 0.0,
        "coverage@2": 2 / 4,
        "gini@2": pytest.approx((1 * 1 + 3 * 2) / (4 * 3)),  # counts 0 0 1 2
        "popularity@2": 8.0,
        "invalid@2": 1 / 4,
        "popularity_lift@2": pytest.approx((7 + 10) / 2 / 10 - 1),
        "diversity@2": 1.0,
    }
