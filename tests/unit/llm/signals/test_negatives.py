"""Samplers of rejected items: what is drawn, how often, and what never is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recbench.data import Catalogue, Ints, Ragged, TrainingData
from recbench.errors import DataError
from recbench.llm.signals import negatives
from recbench.llm.training.examples import NextItem
from recbench.testing import toy_data


def examples_of(histories: list[list[int]], targets: list[int]) -> NextItem:
    return NextItem(
        rows=[],
        user=np.arange(len(targets)),
        history=Ragged.of(histories),
        target=np.array(targets),
    )


def many(num_items: int, count: int = 60) -> NextItem:
    draw = np.random.default_rng(5)
    histories = [draw.integers(num_items, size=1 + index % 6).tolist() for index in range(count)]
    return examples_of(histories, draw.integers(num_items, size=count).tolist())


def with_popularity(counts: list[int]) -> TrainingData:
    from dataclasses import replace

    data = toy_data(num_items=len(counts))
    catalogue: Catalogue = replace(data.catalogue, popularity=np.array(counts))
    return replace(data, catalogue=catalogue)


def uniform(examples: NextItem, data: TrainingData, count: int, *, key: int) -> Ints:
    return negatives.uniform(examples, np.arange(data.num_items), count, key=key)


def popular(examples: NextItem, data: TrainingData, count: int, *, key: int) -> Ints:
    leaf, popularity = np.arange(data.num_items), data.catalogue.popularity
    return negatives.popular(examples, leaf, popularity, count, key=key)


def taken(examples: NextItem, example: int) -> set[int]:
    return {*examples.history[example].tolist(), int(examples.target[example])}


@pytest.mark.parametrize("sampler", [uniform, popular])
def test_draws_are_distinct_and_never_target_or_history(sampler: Any) -> None:
    data = with_popularity([1 + item for item in range(20)])
    examples = many(20)
    drawn: Ints = sampler(examples, data, 5, key=0)
    assert drawn.shape == (60, 5)
    for example, row in enumerate(drawn.tolist()):
        assert len(set(row)) == 5
        assert not taken(examples, example) & set(row)
        assert min(row) >= 0


@pytest.mark.parametrize("sampler", [uniform, popular])
def test_draws_depend_on_the_seed_and_the_examples_number_alone(sampler: Any) -> None:
    data, examples = with_popularity([3] * 30), many(30)
    first = sampler(examples, data, 4, key=0)
    assert np.array_equal(first, sampler(examples, data, 4, key=0))
    assert not np.array_equal(first, sampler(examples, data, 4, key=1))
    histories = [row.tolist() for row in examples.history]
    others = examples_of([[0, 1, 2], *histories[1:30]], examples.target[:30].tolist())
    assert np.array_equal(sampler(others, data, 4, key=0)[1:], first[1:30])


def test_too_few_items_leave_minus_one_at_the_end() -> None:
    examples = examples_of([[0, 1], [2], [0, 1, 2, 3]], [2, 2, 4])
    drawn = uniform(examples, toy_data(num_items=5), 4, key=0)
    assert [sorted(row[row >= 0].tolist()) for row in drawn] == [[3, 4], [0, 1, 3, 4], []]
    assert (drawn[0] >= 0).tolist() == [True, True, False, False]
    assert (drawn[2] == -1).all()


def test_items_of_one_identifier_are_drawn_once_and_never_those_of_the_target() -> None:
    leaf = np.array([0, 0, 1, 2, 2, 2, 3])  # items 0 and 1 read alike, and so do 3, 4 and 5
    examples = examples_of([[6], [3], [3, 4, 5]], [0, 6, 2])
    for key in range(20):
        drawn = negatives.uniform(examples, leaf, 4, key=key)
        found = [leaf[row[row >= 0]].tolist() for row in drawn]
        # the target 0 takes its twin away; of 3, 4 and 5 one is left to read as they do, until all are seen
        assert [sorted(row) for row in found] == [[1, 2], [0, 1, 2], [0, 3]]
        assert 3 not in drawn[1]


def test_items_without_an_interaction_are_no_popular_negatives() -> None:
    examples = examples_of([[0], [1]], [1, 2])
    drawn = popular(examples, with_popularity([4, 0, 2, 0, 7]), 3, key=0)
    assert [sorted(row[row >= 0].tolist()) for row in drawn] == [[2, 4], [0, 4]]


def test_a_catalogue_without_interactions_has_no_popular_negatives() -> None:
    with pytest.raises(DataError, match="no item can be drawn as a negative"):
        popular(many(4), with_popularity([0, 0, 0, 0]), 1, key=0)


@pytest.mark.parametrize(("sampler", "power"), [(popular, 0.75), (uniform, 0.0)])
def test_frequencies_follow_the_count_to_its_power(sampler: Any, power: float) -> None:
    """Chi-square over 8 items that are never taken; its 99.9 % point with 7 degrees of freedom is 24.3."""
    counts = [1, 2, 4, 8, 16, 32, 64, 128, 1]
    data = with_popularity(counts)
    draws = 8000
    examples = examples_of([[8]] * draws, [8] * draws)
    drawn = sampler(examples, data, 1, key=0)[:, 0]
    result = np.bincount(drawn, minlength=9)
    assert result[8] == 0
    weight = np.array(counts[:8], dtype=float) ** power
    expected = draws * weight / weight.sum()
    assert ((result[:8] - expected) ** 2 / expected).sum() < 24.3


def test_similar_draws_among_the_twenty_nearest_of_the_last_item() -> None:
    vectors = np.arange(60, dtype=np.float32)[:, None]  # neighbours are neighbouring numbers
    examples = examples_of([[3, 30]] * 400, [31] * 400)
    drawn = negatives.similar(examples, vectors, 1, key=0)
    assert set(drawn[:, 0].tolist()) == {*range(20, 41)} - {30, 31}
    assert np.array_equal(drawn, negatives.similar(examples, vectors, 1, key=0))


def test_similar_finds_nothing_where_every_neighbour_is_taken() -> None:
    vectors = np.arange(3, dtype=np.float32)[:, None]
    drawn = negatives.similar(examples_of([[0, 1], [0]], [2, 1]), vectors, 1, key=0)
    assert drawn.tolist() == [[-1], [2]]
