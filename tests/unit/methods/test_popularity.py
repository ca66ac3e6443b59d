from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbench.data import Catalogue, Examples, Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext
from recbench.stages import StageCache
from recbench_methods.popularity import Popularity

# item:         0  1  2  3  4
# occurrences:  1  3  1  0  3, so the order is 1, 4 (tie by item), 0, 2 (tie by item), 3
SEQUENCES = [[1, 4, 0], [1, 4], [4, 1, 2]]


def data_of(sequences: list[list[int]], num_items: int) -> TrainingData:
    rows = Ragged.of(sequences)
    return TrainingData(
        catalogue=Catalogue(
            item_ids=tuple(map(str, range(num_items))),
            titles=("",) * num_items,
            categories=("",) * num_items,
            popularity=np.bincount(rows.values, minlength=num_items).astype(np.int64),
        ),
        sequences=rows,
        valid=Examples(requests=asking(len(rows)), target=np.zeros(len(rows), dtype=np.int64)),
        history=20,
    )


def asking(count: int, allowed: Ragged | None = None, excluded: Ragged | None = None) -> Requests:
    return Requests(
        user=np.arange(count), history=Ragged.of([[0]] * count), allowed=allowed, excluded=excluded
    )


@pytest.fixture
def fitted(tmp_path: Path) -> Popularity:
    """Loaded by a second instance, as the harness does in a fresh process."""
    run = RunContext(seed=0, workdir=tmp_path, stages=StageCache(tmp_path / "cache"))
    data = data_of(SEQUENCES, 5)
    Popularity().fit(data, run=run)
    method = Popularity()
    method.load(data, run=run)
    return method


def test_items_are_ranked_by_training_count_and_ties_by_item(fitted: Popularity) -> None:
    ranking = fitted.rank(asking(2), k=5)
    assert ranking.items.tolist() == [[1, 4, 0, 2, 3]] * 2
    assert ranking.scores is not None
    assert ranking.scores[0].tolist() == [3, 3, 1, 1, 0]


def test_excluded_items_are_left_out_and_the_tail_is_padded(fitted: Popularity) -> None:
    requests = asking(2, excluded=Ragged.of([[1, 2], []]))
    ranking = fitted.rank(requests, k=5)
    assert ranking.items.tolist() == [[4, 0, 3, -1, -1], [1, 4, 0, 2, 3]]
    ranking.check(requests, num_items=5, depth=5)


def test_only_candidates_are_ranked(fitted: Popularity) -> None:
    requests = asking(2, allowed=Ragged.of([[3, 2], [0, 4, 1]]))
    assert fitted.rank(requests, k=3).items.tolist() == [[2, 3, -1], [1, 4, 0]]


def test_requests_beyond_one_chunk_keep_their_own_masks(fitted: Popularity) -> None:
    requests = asking(1100, excluded=Ragged.of([[row % 5] for row in range(1100)]))
    items = fitted.rank(requests, k=4).items
    assert [items[row].tolist() for row in (1, 511, 512, 1099)] == [
        [4, 0, 2, 3],  # 1 excluded
        [4, 0, 2, 3],  # 511 % 5 = 1
        [1, 4, 0, 3],  # 512 % 5 = 2
        [1, 0, 2, 3],  # 1099 % 5 = 4
    ]


def test_a_longer_list_than_the_catalogue_ends_in_padding(fitted: Popularity) -> None:
    assert fitted.rank(asking(1), k=7).items.tolist() == [[1, 4, 0, 2, 3, -1, -1]]


def test_ranking_before_loading_says_so() -> None:
    with pytest.raises(UsageError, match="before it was loaded"):
        Popularity().rank(asking(1), k=1)
