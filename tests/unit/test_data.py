"""Ragged arrays and the shapes built on them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recbench.data import Catalogue, Examples, Ragged, Requests, TrainingData, arrays_of, ragged_from

ROWS = st.lists(st.lists(st.integers(0, 1000), max_size=6), max_size=8)


def listed(ragged: Ragged) -> list[list[int]]:
    return [row.tolist() for row in ragged]


@given(ROWS)
def test_ragged_gives_back_the_rows_it_was_made_of(rows: list[list[int]]) -> None:
    ragged = Ragged.of(rows)
    assert listed(ragged) == rows
    assert len(ragged) == len(rows)
    assert ragged.lengths.tolist() == [len(row) for row in rows]


@given(ROWS, st.integers(1, 5))
def test_last_keeps_the_newest_items_of_each_row(rows: list[list[int]], n: int) -> None:
    assert listed(Ragged.of(rows).last(n)) == [row[-n:] for row in rows]


@given(ROWS)
def test_ragged_survives_an_npz_file_in_32_bits(rows: list[list[int]]) -> None:
    arrays = arrays_of(Ragged.of(rows), "seen")
    assert sorted(arrays) == ["seen_offsets", "seen_values"]
    assert arrays["seen_values"].dtype == np.int32
    assert listed(ragged_from(arrays, "seen")) == rows


def test_take_gives_rows_in_the_order_asked_for_also_twice() -> None:
    ragged = Ragged.of([[1], [2, 3], []])
    assert listed(ragged.take(np.array([2, 1, 1]))) == [[], [2, 3], [2, 3]]


def test_taking_requests_takes_their_candidates_and_masks_along() -> None:
    requests = Requests(
        user=np.array([10, 11]),
        history=Ragged.of([[1], [2, 3]]),
        allowed=Ragged.of([[4], [5]]),
        excluded=Ragged.of([[1], [2, 3]]),
    )
    second = requests.take(np.array([1]))
    assert second.user.tolist() == [11]
    assert second.allowed is not None
    assert second.excluded is not None
    assert [listed(second.history), listed(second.allowed), listed(second.excluded)] == [
        [[2, 3]],
        [[5]],
        [[2, 3]],
    ]
    assert Requests(user=requests.user, history=requests.history).take(np.array([0])).allowed is None


def test_training_targets_are_all_positions_but_each_first() -> None:
    catalogue = Catalogue(
        item_ids=("a", "b"), titles=("A", ""), categories=("", ""), popularity=np.array([3, 1])
    )
    requests = Requests(user=np.arange(3), history=Ragged.of([[0], [0], [0]]))
    data = TrainingData(
        catalogue=catalogue,
        sequences=Ragged.of([[0, 1, 0], [0], []]),
        valid=Examples(requests=requests, target=np.array([1, 1, 1])),
        history=20,
    )
    assert data.num_items == 2
    assert data.num_targets == (3 - 1) + (1 - 1) + 0


def test_spans_cut_rows_out_of_flat_values_and_may_overlap() -> None:
    values = np.array([10, 11, 12, 13])
    rows = Ragged.spans(values, np.array([0, 2, 1]), np.array([2, 2, 4]))
    assert [row.tolist() for row in rows] == [[10, 11], [], [11, 12, 13]]
    assert len(Ragged.spans(values, np.zeros(0, np.int64), np.zeros(0, np.int64))) == 0
