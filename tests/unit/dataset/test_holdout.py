"""What each protocol holds out, who asks, and what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.data import Ints, Ragged
from recbench.dataset.holdout import PHASES, HeldOut, drawn_users, hold_out, leave_one_out
from recbench.dataset.sources.log import Log, Steps
from recbench.dataset.sources.raw import ItemText
from recbench.errors import DataError, UsageError
from recbench.protocol import PROTOCOLS, Phase, get_protocol

SOFT, TEMPORAL, CANDIDATES = (get_protocol(name) for name in ("soft", "temporal", "candidates"))


def make_log(
    sequences: Sequence[Sequence[int]],
    moments: Sequence[Sequence[int]] | None = None,
    *,
    num_items: int = 0,
) -> Log:
    items = num_items or 1 + max(max(row) for row in sequences)
    return Log(
        user_ids=tuple(f"u{user}" for user in range(len(sequences))),
        item_ids=tuple(f"i{item}" for item in range(items)),
        texts=(ItemText("", ""),) * items,
        sequences=Ragged.of(sequences),
        moments=Ragged.of(moments or [range(len(row)) for row in sequences]).values,
        timestamped=moments is not None,
        counts={},
    )


def asked(split: HeldOut, phase: Phase) -> list[tuple[int, list[int], int]]:
    """(user of the log, everything seen, target) of each request."""
    asking = split.requests[phase]
    rows = zip(split.users[asking.user], asking.seen, asking.target, strict=True)
    return [(int(user), seen.tolist(), int(target)) for user, seen, target in rows]


# Ten interactions have something before them, at moments 11..20: training is what lies before the moment of
# the ninth (19), validation the ninth, test the tenth.
TIMED = make_log(
    [[0, 1, 2, 3, 4], [5, 6, 7, 8], [0, 2, 4, 6]],
    [[1, 11, 14, 17, 19], [2, 12, 15, 20], [3, 13, 16, 18]],
)


def test_a_time_cut_divides_eight_to_one_to_one() -> None:
    split = hold_out(TIMED, TEMPORAL)
    assert split.cuts == (19, 20)
    assert [row.tolist() for row in split.training] == [[0, 1, 2, 3], [5, 6, 7], [0, 2, 4, 6]]
    assert asked(split, "valid") == [(0, [0, 1, 2, 3], 4)]
    assert asked(split, "test") == [(1, [5, 6, 7], 8)]
    assert split.sample is None


def test_a_user_who_only_asks_stands_behind_those_who_train() -> None:
    log = make_log(
        [[0, 1, 2], [5, 6, 7, 8, 1, 2, 3, 4], [3, 4, 5]],
        [[30, 31, 32], [1, 2, 3, 4, 5, 6, 7, 8], [2, 5, 9]],
    )
    split = hold_out(log, TEMPORAL)  # the 11 targets: 2..8, 5, 9, 31, 32; the cuts are the 9th and the 10th
    assert split.cuts == (9, 31)
    assert split.users.tolist() == [1, 2, 0]
    assert len(split.training) == 2
    assert asked(split, "valid") == [(2, [3, 4], 5)]
    assert asked(split, "test") == [(0, [0], 1)]


logs = st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=9), min_size=4, max_size=12).map(
    lambda rows: [sorted(row) for row in rows]
)


@given(logs, st.integers(0, 3), st.sampled_from(["temporal", "soft"]))
def test_no_training_interaction_is_as_late_as_anything_asked_for(
    moments: list[list[int]], seed: int, name: str
) -> None:
    rows = [[(7 * user + place) % 40 for place in range(len(row))] for user, row in enumerate(moments)]
    log = make_log(rows, moments, num_items=40)
    try:
        split = hold_out(log, get_protocol(name), seed=seed)
    except DataError:
        return
    assert split.cuts is not None
    of_pair = {
        (user, item): at
        for user, (items, times) in enumerate(zip(rows, moments, strict=True))
        for item, at in zip(items, times, strict=True)
    }
    trained = [
        of_pair[int(user), int(i)]
        for user, row in zip(split.users, split.training, strict=False)
        for i in row
    ]
    assert max(trained) < split.cuts[0] < split.cuts[1]
    for phase, (low, high) in zip(PHASES, [split.cuts, (split.cuts[1], np.inf)], strict=True):
        users = [user for user, _, _ in asked(split, phase)]
        assert users == sorted(set(users), key=split.users.tolist().index)
        for user, seen, target in asked(split, phase):
            assert low <= of_pair[user, target] < high
            assert seen == rows[user][: rows[user].index(target)]
            assert seen


def test_the_next_item_is_asked_for_under_temporal_and_any_under_soft() -> None:
    """45 targets, at moments 2..41 and 100..104: the cuts are the 37th, 38, and the 41st, 100."""
    log = make_log([list(range(41)), [50, 51, 52, 53, 54, 55]], [range(1, 42), [1, 100, 101, 102, 103, 104]])
    targets = {}
    for rules in (TEMPORAL, SOFT):
        splits = [hold_out(log, rules, seed=seed) for seed in range(40)]
        assert {split.cuts for split in splits} == {(38, 100)}
        targets[rules.name] = {target for split in splits for _, _, target in asked(split, "test")}
    assert targets == {"temporal": {51}, "soft": {51, 52, 53, 54, 55}}


def test_ties_at_a_cut_stay_together_on_the_later_side() -> None:
    log = make_log([[0, 1, 2, 3], [4, 5, 6, 7], [0, 5, 1, 6]], [[1, 2, 3, 9], [1, 2, 9, 9], [1, 3, 9, 12]])
    split = hold_out(log, TEMPORAL)  # moments of targets: 2 2 3 3 9 9 9 9 12; share 0.8 points at a 9
    assert split.cuts == (9, 12)
    assert [row.tolist() for row in split.training] == [[0, 1, 2], [4, 5], [0, 5]]
    assert asked(split, "valid") == [(0, [0, 1, 2], 3), (1, [4, 5], 6), (2, [0, 5], 1)]
    assert split.requests["valid"].tied == 1  # user 1 might as well have been asked for item 7


def test_what_soft_draws_depends_on_the_data_seed_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    rows = [rng.permutation(200)[:20].tolist() for _ in range(80)]
    moments = [np.sort(rng.integers(0, 5000, 20)).tolist() for _ in rows]
    rules = replace(SOFT, sample_training=100, sample_valid=7, sample_test=9)
    log = make_log(rows, moments, num_items=200)
    split, same, other = (hold_out(log, rules, seed=seed) for seed in (0, 0, 1))
    assert [len(asked(split, phase)) for phase in PHASES] == [7, 9]
    for phase in PHASES:
        assert asked(split, phase) == asked(same, phase) != asked(other, phase)
    assert split.sample is not None
    assert same.sample is not None
    assert other.sample is not None
    assert split.sample.tolist() == same.sample.tolist() != other.sample.tolist()
    assert len(set(split.sample.tolist())) == 100
    assert not set(split.sample.tolist()) & set(
        split.training.offsets[:-1].tolist()
    )  # a first item is no target
    assert split.training.values.tolist() == other.training.values.tolist()


def test_lists_hold_the_target_and_items_that_the_user_never_chose() -> None:
    rng = np.random.default_rng(3)
    rows = [rng.permutation(60)[:15].tolist() for _ in range(40)]
    log = make_log(rows, num_items=60)
    split = hold_out(log, CANDIDATES)
    for phase in PHASES:
        lists = split.requests[phase].allowed
        assert lists is not None
        for (user, _, target), listed in zip(asked(split, phase), lists, strict=True):
            assert len(set(listed.tolist())) == len(listed) == 20
            assert set(listed.tolist()) & set(rows[user]) == {target}
    lists = split.requests["test"].allowed
    assert lists is not None
    places = [listed.tolist().index(t) for listed, (_, _, t) in zip(lists, asked(split, "test"), strict=True)]
    assert len(set(places)) > 10  # the target's place says nothing
    again, other = hold_out(log, CANDIDATES, seed=0), hold_out(log, CANDIDATES, seed=1)
    assert _lists(again).tolist() == _lists(split).tolist() != _lists(other).tolist()


def _lists(split: HeldOut) -> Ints:
    lists = split.requests["test"].allowed
    assert lists is not None
    return lists.values


def test_too_few_unseen_items_for_a_list_are_refused_by_user() -> None:
    log = make_log([[0, 1, 2], list(range(8))], num_items=26)
    with pytest.raises(DataError, match="no 20 candidates for user 'u1'") as refused:
        hold_out(log, CANDIDATES)
    assert "of 26 items the user has chosen 8" in str(refused.value)
    hold_out(make_log([[0, 1, 2], list(range(7))], num_items=26), CANDIDATES)  # 19 others are enough


def listed_log() -> Log:
    """Users 0 and 1 train, 2 validates with two steps, 3 tests with one."""
    log = make_log([[0, 1, 2], [1, 2, 3], [2, 3, 4, 5], [3, 4, 5]], num_items=9)
    steps: dict[Phase, Steps] = {
        "valid": Steps(
            user=np.array([2, 2]), position=np.array([9, 8]), candidates=Ragged.of([[0, 5, 1], [4, 0, 1]])
        ),
        "test": Steps(user=np.array([3]), position=np.array([11]), candidates=Ragged.of([[7, 8, 4]])),
    }
    return replace(log, listed=steps)


def test_a_source_that_lists_divides_by_user_and_asks_for_the_last_step() -> None:
    split = hold_out(listed_log(), CANDIDATES)
    assert split.users.tolist() == [0, 1, 2, 3]
    assert [row.tolist() for row in split.training] == [[0, 1, 2], [1, 2, 3]]
    assert asked(split, "valid") == [(2, [2, 3, 4], 5)]
    assert asked(split, "test") == [(3, [3], 4)]
    valid, test = split.requests["valid"].allowed, split.requests["test"].allowed
    assert valid is not None
    assert test is not None
    assert [row.tolist() for row in valid] == [[0, 5, 1]]  # as listed
    assert [row.tolist() for row in test] == [[7, 8, 4]]


def test_lists_of_the_source_are_for_protocols_with_lists_alone() -> None:
    split = hold_out(listed_log(), get_protocol("ilrec"))
    assert len(split.training) == 4
    assert split.requests["test"].allowed is None


@pytest.mark.parametrize("name", ["temporal", "soft"])
def test_an_order_without_times_cannot_be_cut_in_time(name: str) -> None:
    with pytest.raises(UsageError, match=f"protocol '{name}' needs timestamps") as refused:
        hold_out(make_log([[0, 1, 2]]), get_protocol(name))
    assert refused.value.fix == "--protocol ilrec"


def test_a_log_of_one_day_cannot_be_cut_in_time() -> None:
    with pytest.raises(DataError, match="cannot be cut in time"):
        hold_out(make_log([[0, 1, 2], [3, 4, 5]], [[7, 7, 7], [7, 7, 7]]), TEMPORAL)


def test_every_protocol_is_versioned_and_its_rules_are_in_one_of_the_two_digests() -> None:
    for name, protocol in PROTOCOLS.items():
        parts = {**protocol.split_part(), **protocol.evaluation_part()}
        assert parts["name"] == name
        assert parts["version"] >= 1
        assert protocol.depth >= max(protocol.cutoffs)
    assert dict(get_protocol("ilrec").split_part()) == {"split": "leave-one-out", "history": 20}
    draws = {name for name, protocol in PROTOCOLS.items() if protocol.draws}
    assert draws == {"soft", "candidates"}


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_a_smaller_limit_draws_a_part_of_a_larger_one(small: int, large: int, seed: int) -> None:
    small, large = sorted((small, large))
    few, many = drawn_users(50, small, seed), drawn_users(50, large, seed)
    assert len(few) == min(small, 50)
    assert set(few) <= set(many)
    assert (np.diff(few) > 0).all()


def test_the_data_seed_decides_whom_a_limit_draws() -> None:
    assert len({tuple(drawn_users(50, 5, seed)) for seed in range(10)}) > 1
    assert drawn_users(3, None, 7).tolist() == [0, 1, 2]


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=6), min_size=1, max_size=5))
def test_leave_one_out_splits_every_sequence_into_three_parts(moments: list[list[int]]) -> None:
    moments = [sorted(row) for row in moments]
    rows = [[10 * user + place for place in range(len(row))] for user, row in enumerate(moments)]
    split = leave_one_out(make_log(rows, moments), np.arange(len(rows))[::2])
    valid, test = split.requests["valid"], split.requests["test"]
    parts = zip(split.training, valid.target, test.target, strict=True)
    assert [[*training, *held_out] for training, *held_out in parts] == rows[::2]
    assert [[*seen, target] for seen, target in zip(test.seen, test.target, strict=True)] == rows[::2]
    assert test.tied == sum(row[-1] == row[-2] for row in moments[::2])
    assert valid.tied == sum(row[-2] in (row[-1], row[-3]) for row in moments[::2])
