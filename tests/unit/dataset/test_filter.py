"""The filter: order, rules and their counts, cores, ids."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.dataset.card import Filter
from recbench.dataset.sources import RawLog
from recbench.dataset.sources.log import Log, coarsest, core, filtered, ordered_ids
from recbench.dataset.sources.raw import ItemText, Listed
from recbench.errors import DataError


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["10", "9", "a"], ["10", "9", "a"]),
        (["07", "7", "6"], ["6", "07", "7"]),
        (["ä", "b", "Z", "a"], ["Z", "a", "b", "ä"]),
        (["²", "10", "9"], ["10", "9", "²"]),  # a superscript is no decimal integer
    ],
)
def test_ids_compare_as_integers_only_if_all_are(ids: list[str], expected: list[str]) -> None:
    assert ordered_ids(ids) == expected


Row = tuple[str, str, int, int]  # user, item, timestamp, position


def raw_log(rows: list[Row], *, titles: Mapping[str, str]) -> RawLog:
    return RawLog(
        user_ids=[row[0] for row in rows],
        item_ids=[row[1] for row in rows],
        timestamps=np.array([row[2] for row in rows], dtype=np.int64),
        positions=np.array([row[3] for row in rows], dtype=np.int64),
        items={item: ItemText(title, "") for item, title in titles.items()},
        counts={},
    )


def sequences_of(log: Log) -> dict[str, list[str]]:
    return {
        user: [log.item_ids[item] for item in row]
        for user, row in zip(log.user_ids, log.sequences, strict=True)
    }


TITLES = {"10": "ten", "2": "two", "3": "three", "4": "", "5": "five"}


def test_order_is_time_then_position_then_item_id() -> None:
    rows = [("u", "10", 5, 1), ("u", "2", 5, 1), ("u", "3", 5, 0), ("u", "5", 1, 9)]
    log = filtered(raw_log(rows, titles=TITLES), Filter())
    assert sequences_of(log) == {"u": ["5", "3", "2", "10"]}
    assert log.item_ids == ("2", "3", "5", "10")
    assert log.moments.tolist() == [1, 5, 5, 5]


def test_a_2_core_has_no_item_of_one_interaction_though_users_need_three() -> None:
    rows = [(user, item, place, 0) for user in "abc" for place, item in enumerate(["2", "3", "5"])]
    rows += [("d", "10", 0, 0), ("d", "2", 1, 0), ("e", "10", 0, 0), ("e", "3", 1, 0), ("e", "5", 2, 0)]
    log = filtered(raw_log(rows, titles=TITLES), Filter(core=2))
    assert sequences_of(log) == {user: ["2", "3", "5"] for user in "abc"}
    # d has two items and goes, then 10, which is left with e, then e


@pytest.mark.parametrize(
    ("moments", "ticks", "expected"),
    [
        ([5_000, 7_000], 1_000, ([5, 7], 1)),
        ([5_000, 7_001], 1_000, ([5_000, 7_001], 1_000)),
        ([5_000_000, 7_001_000], 1_000_000, ([5_000, 7_001], 1_000)),
        ([-3_000_000_000, 0], 1_000_000_000, ([-3, 0], 1)),
        ([5, 7], 1, ([5, 7], 1)),
    ],
)
def test_moments_are_kept_in_the_coarsest_unit_that_loses_nothing(
    moments: list[int], ticks: int, expected: tuple[list[int], int]
) -> None:
    coarse, per_second = coarsest(np.array(moments), ticks)
    assert (coarse.tolist(), per_second) == expected


def test_every_rule_removes_and_counts_its_own_rows() -> None:
    rows = [
        ("a", "2", 1, 0),
        ("a", "3", 2, 0),
        ("a", "2", 9, 0),  # the first of a repeated pair stays
        ("a", "5", 3, 0),
        ("a", "99", 4, 0),  # not in the item table
        ("a", "4", 5, 0),  # in it without a title
        ("b", "2", 1, 0),  # two items only
        ("b", "10", 2, 0),
    ]
    log = filtered(raw_log(rows, titles=TITLES), Filter())
    assert sequences_of(log) == {"a": ["2", "3", "5", "4"]}
    assert log.counts == {
        "bad_json_lines": 0,
        "repeated_items": 0,
        "rows_without_metadata": 1,
        "rows_without_title": 0,
        "repeated_pairs": 1,
        "rows_below_core": 0,
        "short_users": 1,
        "rows_of_short_users": 2,
        "empty_titles": 1,
    }
    titled = filtered(raw_log(rows, titles=TITLES), Filter(titled_items=True))
    assert sequences_of(titled) == {"a": ["2", "3", "5"]}
    assert (titled.counts["rows_without_title"], titled.counts["empty_titles"]) == (1, 0)


def test_a_log_with_nothing_left_is_refused_with_the_counts() -> None:
    with pytest.raises(DataError, match="no interaction is left") as refused:
        filtered(raw_log([("a", "2", 1, 0)], titles=TITLES), Filter())
    assert "rows_of_short_users 1" in str(refused.value)
    with pytest.raises(DataError, match="nothing was read"):
        filtered(raw_log([], titles=TITLES), Filter())


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(TITLES)), st.integers(0, 3), st.integers(0, 2)),
    max_size=25,
)


@given(ROWS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(rows: list[Row], k: int, rng: random.Random) -> None:
    def outcome(rows: list[Row]) -> object:
        try:
            log = filtered(raw_log(rows, titles=TITLES), Filter(core=k))
        except DataError as error:
            return str(error)
        return sequences_of(log), log.moments.tolist(), log.counts

    shuffled = rng.sample(rows, len(rows))
    assert outcome(rows) == outcome(shuffled)


PAIRS = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30)


@given(PAIRS, st.integers(0, 4), st.integers(0, 4))
def test_core_equals_removing_one_weak_user_or_item_at_a_time(
    pairs: set[tuple[int, int]], k: int, of_user: int
) -> None:
    left = set(pairs)
    while True:
        users, items = Counter(u for u, _ in left), Counter(i for _, i in left)
        weak = [(u, i) for u, i in left if k > 1 and (users[u] < max(k, of_user) or items[i] < k)]
        if not weak:
            break
        left.discard(weak[0])
    rows = sorted(pairs)
    array = np.array(rows, dtype=np.int64).reshape(-1, 2)
    keep = core(array[:, 0], array[:, 1], k, of_user=of_user)
    assert {row for row, stays in zip(rows, keep, strict=True) if stays} == left


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Listed("valid", "nobody", "2", ("2",)), "names user 'nobody', which has no interaction left"),
        (Listed("valid", "a", "2", ("2", "99")), "names item '99'"),
        (Listed("valid", "a", "1", ("1", "2")), "item '1' follows no item of user 'a'"),
    ],
)
def test_a_list_that_is_no_step_of_the_log_is_refused(step: Listed, message: str) -> None:
    raw = raw_log([("a", "1", 0, 0), ("a", "2", 1, 0), ("a", "3", 2, 0)], titles={"1": "", "2": "", "3": ""})
    with pytest.raises(DataError, match=message):
        filtered(dataclasses.replace(raw, listed=[step]), Filter())
