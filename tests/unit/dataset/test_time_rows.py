"""Rows in time, of which a user has several: what is held out, and the filters of such sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.data import Ints, Ragged
from recbench.dataset.card import Filter, parse
from recbench.dataset.holdout import PHASES, HeldOut, hold_out, time_rows
from recbench.dataset.sources.log import Log, filtered
from recbench.dataset.sources.raw import ItemText, RawLog
from recbench.errors import DataError, UsageError
from recbench.protocol import PROTOCOLS, Phase, asks_repeatedly, estimand, get_protocol

TIME_ROWS = get_protocol("time-rows")
DAY = 86_400

# user, item, day: methods2, 8.4
EVENTS = "u 1 1, u 2 3, u 1 6, u 3 8, v 2 2, v 1 4, v 3 4, v 2 9, w 1 5, w 4 7, x 4 1, x 5 2, x 3 3"


def raw(events: str = EVENTS, titles: dict[str, str] | None = None) -> RawLog:
    rows = [event.split() for event in events.split(", ")]
    return RawLog(
        user_ids=[row[0] for row in rows],
        item_ids=[row[1] for row in rows],
        timestamps=np.array([int(row[2]) * DAY for row in rows]),
        positions=None,
        items={row[1]: ItemText((titles or {}).get(row[1], "thing"), "") for row in rows},
        counts={},
    )


def asked(split: HeldOut, log: Log, phase: Phase) -> list[tuple[str, list[str], str]]:
    asking = split.requests[phase]
    return [
        (
            log.user_ids[split.users[user]],
            [log.item_ids[i] for i in seen[-TIME_ROWS.history :]],
            log.item_ids[target],
        )
        for user, seen, target in zip(asking.user, asking.seen, asking.target, strict=True)
    ]


def test_the_example_of_the_protocol() -> None:
    log = filtered(raw(), Filter(core=3, keeps_repeats=True))
    assert (log.user_ids, log.item_ids, log.num_interactions) == (("u", "v"), ("1", "2"), 6)
    assert log.counts["repeated_pairs_kept"] == 2
    split = time_rows(log, np.arange(2), TIME_ROWS)
    # rows by time: u (1) 2 @3, v (2) 1 @4, u (1, 2) 1 @6, v (2, 1) 2 @9: of four, 3 train and 1 tests
    assert [row.tolist() for row in split.training] == [[0, 1, 0], [1, 0]]
    assert [len(split.requests[phase].target) for phase in PHASES] == [0, 1]
    assert asked(split, log, "test") == [("v", ["2", "1"], "2")]
    with pytest.raises(DataError, match="no request is left in the valid phase"):
        hold_out(log, TIME_ROWS)


def test_repeats_are_dropped_where_the_card_does_not_keep_them() -> None:
    with pytest.raises(DataError, match="no interaction is left"):
        filtered(raw(), Filter(core=3))


# ten rows, at days 2..11: eight train, the ninth validates, the tenth tests
LOG = filtered(
    raw("a 0 1, a 1 2, a 2 4, a 3 6, a 4 8, a 5 10, b 0 1, b 1 3, b 2 5, b 3 7, b 4 9, b 5 11"), Filter()
)


def test_a_user_asks_once_for_each_of_its_rows_and_trains_on_what_lies_before() -> None:
    split = hold_out(LOG, TIME_ROWS)
    assert [row.tolist() for row in split.training] == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert asked(split, LOG, "valid") == [("a", ["0", "1", "2", "3", "4"], "5")]
    assert asked(split, LOG, "test") == [("b", ["0", "1", "2", "3", "4"], "5")]
    assert split.cuts == (10 * DAY, 11 * DAY)
    assert split.rule == "time-rows"


def test_the_requests_of_a_user_stand_in_time_and_see_earlier_targets() -> None:
    log = filtered(raw("a 0 1, " + ", ".join(f"a {n} {n + 1}" for n in range(1, 21))), Filter())
    split = hold_out(log, TIME_ROWS)
    assert asked(split, log, "valid") == [
        ("a", [str(n) for n in range(7, 17)], "17"),
        ("a", [str(n) for n in range(8, 18)], "18"),
    ]
    assert [target for _, _, target in asked(split, log, "test")] == ["19", "20"]
    assert split.requests["test"].seen[1].tolist() == [*range(20)]


def test_a_cut_may_fall_between_rows_of_one_moment_and_then_goes_by_user() -> None:
    rows = ", ".join(f"{user} 0 1, {user} 1 2" for user in "abcdefghij")
    split = hold_out(
        filtered(raw(rows + ", " + ", ".join(f"{u} 2 2" for u in "abcdefghij")), Filter()), TIME_ROWS
    )
    # twenty rows of one moment, two a user, by user: 16 train, those of i validate, those of j test
    assert split.cuts == (2 * DAY, 2 * DAY)
    assert len(split.training) == 8
    assert [split.users[split.requests[phase].user].tolist() for phase in PHASES] == [[8, 8], [9, 9]]


logs = st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=9), min_size=4, max_size=12)


@given(logs, st.integers(1, 12))
def test_every_row_is_in_one_part_and_no_row_trains_after_one_that_is_asked_for(
    days: list[list[int]], limit: int
) -> None:
    rows = [
        f"u{user} {7 * user + n} {day}" for user, row in enumerate(days) for n, day in enumerate(sorted(row))
    ]
    log = filtered(raw(", ".join(rows)), Filter())
    try:
        split = hold_out(log, TIME_ROWS)
    except DataError:
        return
    parts = [split.training.lengths.sum() - len(split.training)]
    parts += [len(split.requests[phase].target) for phase in PHASES]
    whole = log.num_interactions - len(log.user_ids)
    assert parts == [8 * whole // 10, 9 * whole // 10 - 8 * whole // 10, whole - 9 * whole // 10]
    assert split.cuts is not None
    for user, trained in zip(split.users, split.training, strict=False):
        start = log.sequences.offsets[user]
        assert log.moments[start + len(trained) - 1] <= split.cuts[0]
        assert trained.tolist() == log.sequences.values[start : start + len(trained)].tolist()
    everybody = {phase: asked(split, log, phase) for phase in PHASES}
    try:
        few = hold_out(log, TIME_ROWS, limit_users=limit)
    except DataError:
        return
    assert few.cuts == split.cuts  # whoever is left out, the periods stay
    for phase in PHASES:
        assert set(map(str, asked(few, log, phase))) <= set(map(str, everybody[phase]))


def test_an_order_without_times_has_no_rows_in_time() -> None:
    with pytest.raises(UsageError, match="protocol 'time-rows' needs timestamps"):
        hold_out(replace(LOG, timestamped=False), TIME_ROWS)


def test_the_window_holds_both_its_days_at_midnight() -> None:
    days = raw(", ".join(f"u {day} {day}" for day in range(1, 10)))  # day 1 is the second of January
    windows = ("1970-01-02", ""), ("1970-01-03", ""), ("", "1970-01-10"), ("1970-01-04", "1970-01-06")
    removed = [filtered(days, Filter(since=a, until=b)).counts["rows_outside_window"] for a, b in windows]
    assert removed == [0, 1, 0, 6]
    with pytest.raises(DataError, match="window of time needs timestamps"):
        filtered(replace(days, timestamps=None, positions=np.arange(9)), Filter(since="1970-01-02"))


def test_titles_of_products_are_neither_short_nor_long_nor_mark_up() -> None:
    titles = {"1": "x", "2": "word " * 20 + "word", "3": 'a <span id="1">', "4": "word " * 20}
    log = filtered(
        raw(
            "u 1 1, u 2 2, u 3 3, u 4 4, u 5 5, u 6 6", {name: text.strip() for name, text in titles.items()}
        ),
        Filter(title_words=20, title_letters=2, title_without="<span id"),
    )
    assert log.item_ids == ("4", "5", "6")
    assert log.counts["rows_of_odd_title"] == 3


def test_a_card_with_what_is_no_day_is_refused() -> None:
    text = (
        'name = "x"\ntitle = ""\nnoun = ""\ncitation = ""\nterms = ""\n[filter]\n{}\n[[sources]]\n'
        'format = "amazon18"\nfolder = "f"\ninteractions = {{name = "a"}}\nitems = {{name = "b"}}\n'
    )
    with pytest.raises(DataError, match="filter has no day"):
        parse(text.format('since = "last week"').encode(), path="x.toml")
    with pytest.raises(DataError, match="is after until"):
        parse(text.format('since = "2018-01-01"\nuntil = "2017-01-01"').encode(), path="x.toml")
    card = parse(text.format('since = "2016-10-01"').encode(), path="x.toml")
    assert card.filter.window == (1_475_280_000, None)


def test_users_ask_repeatedly_under_one_protocol_and_once_under_all_others() -> None:
    assert [name for name, one in PROTOCOLS.items() if one.asks == "repeatedly"] == ["time-rows"]
    for name, one in PROTOCOLS.items():
        recorded = one.evaluation_part()
        assert asks_repeatedly(recorded) == (name == "time-rows")
        assert ("asks" in recorded) == (name == "time-rows")  # the identity of older runs stays
        assert bool(estimand(recorded)) == (name == "time-rows")


@pytest.mark.parametrize("name", ["ilrec", "temporal"])
def test_a_deep_twin_holds_out_the_same_and_ranks_deeper(name: str) -> None:
    one, deep = get_protocol(name), get_protocol(f"{name}-50")
    assert deep.split_part() == one.split_part()
    assert (one.depth, deep.depth, deep.cutoffs) == (20, 50, (1, 3, 5, 10, 20, 50))
    assert replace(deep, name=name, depth=20, cutoffs=one.cutoffs) == one


def rng_log(seed: int) -> Log:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, 40)
    values: Ints = rng.integers(0, 60, int(lengths.sum()))
    moments = np.concatenate([np.sort(rng.integers(0, 500, length)) for length in lengths])
    return Log(
        user_ids=tuple(f"u{user}" for user in range(40)),
        item_ids=tuple(f"i{item}" for item in range(60)),
        texts=(ItemText("", ""),) * 60,
        sequences=Ragged(np.concatenate([[0], np.cumsum(lengths)]), values),
        moments=moments,
        timestamped=True,
        counts={},
    )


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_requests_of_one_user_are_as_many_as_the_protocol_says(name: str) -> None:
    """Whatever is added to the table of protocols has to say how often a user asks."""
    protocol, repeated = get_protocol(name), False
    for seed in range(3):
        split = hold_out(rng_log(seed), protocol)
        for phase in PHASES:
            _, times = np.unique(split.requests[phase].user, return_counts=True)
            repeated |= bool(times.max() > 1)
    assert repeated == (protocol.asks == "repeatedly")
