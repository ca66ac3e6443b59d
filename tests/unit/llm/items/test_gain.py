"""What the first code of an item says about the next item."""

from __future__ import annotations

import numpy as np
import pytest

from recbench.data import Examples, Ragged, Requests
from recbench.llm.items.gain import predictive_gain
from recbench.testing import toy_data


def asked(histories: list[list[int]], targets: list[int]) -> Examples:
    requests = Requests(user=np.arange(len(targets)), history=Ragged.of(histories))
    return Examples(requests=requests, target=np.array(targets, dtype=np.int64))


def test_the_gain_is_the_log_ratio_of_smoothed_counts_on_validation() -> None:
    # codes: items 0 and 2 share code 4, items 1 and 3 code 9; transitions 4-9, 9-4, 4-9 and 9-9
    first, training = np.array([4, 9, 4, 9]), Ragged.of([[0, 1, 2, 3], [], [1, 3], [2]])
    # p(9 | 4) = 3/4, p(4 | 4) = 1/4; of 4 targets 3 are code 9: p(9) = 4/6, p(4) = 2/6
    assert predictive_gain(first, training, asked([[3, 2]], [1])) == pytest.approx(np.log(9 / 8))
    assert predictive_gain(first, training, asked([[3, 2]], [2])) == pytest.approx(np.log(3 / 4))
    both = predictive_gain(first, training, asked([[3, 2], [0]], [1, 2]))
    assert both == pytest.approx((np.log(9 / 8) + np.log(3 / 4)) / 2)


def test_one_code_for_all_items_gains_nothing_and_the_names_of_codes_do_not_matter() -> None:
    data = toy_data()
    assert predictive_gain(np.zeros(30, dtype=np.int64), data.sequences, data.valid) == pytest.approx(0)
    codes = np.arange(30) // 5
    one = predictive_gain(codes, data.sequences, data.valid)
    assert predictive_gain(90 - 7 * codes, data.sequences, data.valid) == pytest.approx(one)


def test_codes_that_follow_each_other_gain_more_than_random_ones() -> None:
    data = toy_data(num_users=400)  # users walk the catalogue in order
    in_order = predictive_gain(np.arange(30) // 5, data.sequences, data.valid)
    assert in_order > 0.8
    rng = np.random.default_rng(0)
    at_random = [predictive_gain(rng.permutation(30) // 5, data.sequences, data.valid) for _ in range(8)]
    assert np.mean(at_random) < in_order / 2


def test_users_without_a_history_and_an_empty_validation_set_count_nothing() -> None:
    first, training = np.array([0, 1]), Ragged.of([[0, 1, 0, 1]])
    seen = predictive_gain(first, training, asked([[0]], [1]))
    assert predictive_gain(first, training, asked([[], [0]], [0, 1])) == pytest.approx(seen)
    assert predictive_gain(first, training, asked([], [])) == 0.0
    assert seen > 0
