"""TGH by hand: sequences (0,1,2,0,1), (1,2,3), (0,2), (0,1,3) over the items 0 to 4."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recbench.data import Catalogue, Examples, Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.sequential import transitions
from recbench.testing import toy_data, toy_run
from recbench_methods.tgh import TGH, filled, followed, rings

SEQUENCES = Ragged.of([[0, 1, 2, 0, 1], [1, 2, 3], [0, 2], [0, 1, 3]])
POPULARITY = np.bincount(SEQUENCES.values, minlength=5)  # 4, 4, 3, 2, 0
COUNTS = transitions(SEQUENCES, 5, window=1, gap_decay=1.0)  # 0 to 1 three times, 0 to 2 once, ...


def asking(*histories: list[int]) -> Requests:
    return Requests(user=np.arange(len(histories)), history=Ragged.of(histories))


def ranked(
    method: TGH, folder: Path, *histories: list[int], titles: tuple[str, ...] = ("film",) * 5
) -> list[list[int]]:
    """All items for each history, from a second instance, as in a fresh process."""
    data = TrainingData(
        catalogue=Catalogue(
            item_ids=tuple("abcde"), titles=titles, categories=("",) * 5, popularity=POPULARITY
        ),
        sequences=SEQUENCES,
        valid=Examples(requests=asking([0]), target=np.array([1])),
        history=20,
    )
    run = toy_run(folder / "fit")
    method.fit(data, run=run)
    again = replace(method)
    again.load(data, run=run)
    items: list[list[int]] = again.rank(asking(*histories), k=5).items.tolist()
    return items


def test_an_item_that_came_next_most_often_has_the_whole_weight_of_the_counts() -> None:
    weight = np.zeros(5)
    weight[COUNTS[1].indices] = 0.5 * followed(COUNTS[1].data)
    np.testing.assert_allclose(weight, [0, 0, 0.5, 0.315465, 0], atol=1e-6)  # log 3 of log 3, log 2 of log 3


@pytest.mark.parametrize(
    ("source", "found"),
    [(0, [[1, 2], [3], []]), (1, [[2, 3], [0], []]), (2, [[0, 3], [1], []]), (3, [[], [], []])],
)
def test_a_ring_has_what_so_many_steps_lead_to_and_fewer_do_not(source: int, found: list[list[int]]) -> None:
    assert [ring.tolist() for ring in rings(COUNTS, source, 3)] == found


def test_slots_are_filled_first_and_then_the_rest_ring_by_ring() -> None:
    first, second, third = np.arange(9), np.arange(10, 13), np.arange(20, 22)
    assert list(filled([[first, second, third]], [(7, 2, 1)])) == [
        *range(7), 10, 11, 20, 7, 8, 12, 21,
    ]  # fmt: skip
    # the second anchor's rings give what the first's have not given
    assert list(filled([[np.array([3, 4])], [np.array([4, 5, 6])]], [(1,), (2,)])) == [3, 4, 5, 6]


def test_the_last_item_decides_where_all_texts_are_alike(tmp_path: Path) -> None:
    # counts order a ring: after 0 came 1 three times and 2 once; 3 is two steps away; the rest by popularity
    found = ranked(TGH(), tmp_path, [2, 0], [1], [3], [])
    assert found == [[1, 2, 3, 0, 4], [2, 3, 0, 1, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]


def test_two_anchors_share_the_list(tmp_path: Path) -> None:
    # of 1 the rings are 2, 3 and 0; of 0, before it, 1, 2 and 3, of which 1 is left
    assert ranked(TGH(variant="tgh-2"), tmp_path, [0, 1], [1]) == [[2, 3, 0, 1, 4]] * 2


@pytest.mark.parametrize(("alpha", "first"), [(0.0, [2, 1]), (5.0, [1, 2])])
def test_similar_text_or_frequent_transitions_come_first(
    tmp_path: Path, alpha: float, first: list[int]
) -> None:
    titles = ("red wolf", "blue sea", "red wolf", "green hill", "dark moon")
    assert ranked(TGH(alpha=alpha), tmp_path, [0], titles=titles)[0][:2] == first


def test_vectors_of_text_need_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs items with text") as refused:
        ranked(TGH(), tmp_path, [0], titles=("",) * 5)
    assert refused.value.fix == "-m tgh:vectors=collaborative"
    assert ranked(TGH(vectors="collaborative"), tmp_path / "other", [0], titles=("",) * 5)[0][:3] == [1, 2, 3]


def test_lists_are_a_full_ranking_without_repeats(tmp_path: Path) -> None:
    data, run = toy_data(num_users=30, num_items=40), toy_run(tmp_path / "fit")
    method = TGH(variant="tgh-2")
    method.fit(data, run=run)
    method.load(data, run=run)
    items = method.rank(data.valid.requests, k=40).items
    assert (np.sort(items) == np.arange(40)).all()
