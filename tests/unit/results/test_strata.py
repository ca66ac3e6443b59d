from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recbench.results import strata
from recbench.results.request_features import Context


def context(item_popularity: list[int], target: list[int], length: list[int]) -> Context:
    return Context(
        item_popularity=np.array(item_popularity),
        item_labels=np.zeros((len(item_popularity), 0)),
        target_popularity=np.array(target),
        history_length=np.array(length),
        history_popularity=np.zeros(len(target)),
    )


def test_the_head_holds_a_third_of_all_training_interactions() -> None:
    # 30 interactions: 12 of the first item reach 10; 12 + 6 + 4 = 22 reach 20; the rest is the tail
    found = strata.of(context([12, 6, 4, 4, 3, 1, 0], [12, 6, 4, 3, 0], [5, 5, 5, 5, 5]))
    rows = {one.name: one.rows.tolist() for one in found}
    assert rows["head"] == [True, False, False, False, False]
    assert rows["mid"] == [False, True, True, False, False]
    assert rows["tail"] == [False, False, False, True, True]
    assert [one.rule for one in found][:3] == [
        "target with 12 or more training interactions",
        "target with 4 to 11 training interactions",
        "target with fewer than 4 training interactions",
    ]


def test_equal_histories_are_one_stratum() -> None:
    found = [one.name for one in strata.of(context([3, 2, 1], [3, 2, 1], [7, 7, 7]))]
    assert found == ["head", "mid", "tail", "long"]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_every_request_is_in_one_stratum_of_each_kind(popularity: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.choice(popularity, 12).tolist()
    found = strata.of(context(popularity, target, rng.integers(1, 30, 12).tolist()))
    assert np.sum([one.rows for one in found], axis=0).tolist() == [2] * 12
