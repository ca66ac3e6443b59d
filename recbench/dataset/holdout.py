"""Hold out validation and test targets of a log, with the requests for them. Pure functions of the log.

R requests, U users, I items, S sampled training targets. A position is an index into
`Log.sequences.values`; the earlier items of a target's user come before its position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged
from recbench.dataset.sources.log import Log
from recbench.errors import DataError, UsageError
from recbench.protocol import EvalProtocol, Phase

PHASES: tuple[Phase, ...] = ("valid", "test")
TRAINING_SHARE, VALID_SHARE = 0.8, 0.1
"""Shares of a log that is cut in time; the rest is for testing."""
ROW_TENTHS = (8, 9)
"""Where rows are cut, in tenths: whole numbers, so that a cut is exact."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """The requests of a phase, by user; of a user who asks repeatedly, in time."""

    user: Ints  # [R] rows of HeldOut.users
    seen: Ragged  # R rows: all earlier items of the user, oldest first, never empty
    target: Ints  # [R]
    allowed: Ragged | None  # R rows, the target among them, in random order or in the source's
    tied: int
    """Targets that another order of interactions of the same moment would replace."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """A log after its split."""

    rule: str
    users: Ints  # [U] rows of the log's user table; users with training items come first
    training: Ragged  # a row for each user with training items
    requests: Mapping[Phase, Asked]
    sample: Ints | None  # [S] indices into training.values
    cuts: tuple[int, int] | None
    """The first moments of validation and of test."""


def hold_out(log: Log, protocol: EvalProtocol, *, limit_users: int | None = None, seed: int = 0) -> HeldOut:
    """Split a log under a protocol, for all users or `limit_users` of them; `seed` decides every draw.

    Where the protocol uses lists of candidates and the source prescribes them, users are divided as in the
    source; else lists are drawn. UsageError where the log does not allow the protocol, DataError where no
    training item or no request would be left.
    """
    users = drawn_users(len(log.user_ids), limit_users, seed)
    if protocol.candidates == "list" and log.listed:
        split = listed(log, users)
    elif protocol.split == "leave-one-out":
        split = leave_one_out(log, users)
    elif protocol.split == "time-rows":
        split = time_rows(log, users, protocol)
    else:
        split = time_cut(log, users, protocol, seed)
    for phase in PHASES:
        if not len(split.requests[phase].target):
            raise DataError(
                f"no request is left in the {phase} phase", why=f"{len(users):,} users, {split.rule}"
            )
    if not len(split.training):
        raise DataError("no user has training items", why=f"{len(users):,} users, {split.rule}")
    if protocol.list_length is not None and not log.listed:
        lists = {phase: _with_lists(log, split, phase, protocol.list_length, seed) for phase in PHASES}
        split = replace(split, requests=lists)
    return split


def drawn_users(num_users: int, limit: int | None, seed: int) -> Ints:
    """All users, or a random subset, ascending. A smaller limit draws a part of a larger limit's subset."""
    if limit is None or limit >= num_users:
        return np.arange(num_users)
    return np.sort(np.random.default_rng(seed).permutation(num_users)[:limit])


def leave_one_out(log: Log, users: Ints) -> HeldOut:
    """Hold out the last two items of `users`; each has at least three."""
    sequences = log.sequences
    first, end = sequences.offsets[users], sequences.offsets[users + 1]
    return HeldOut(
        rule="leave-one-out",
        users=users,
        training=Ragged.spans(sequences.values, first, end - 2),
        requests={"valid": _asked(log, users, end - 2), "test": _asked(log, users, end - 1)},
        sample=None,
        cuts=None,
    )


def listed(log: Log, users: Ints) -> HeldOut:
    """Divide `users` as the source does: users with lists have requests, the others are for training.

    Only the last step of a user is a request, so that users stay the unit of every test.
    """
    sequences = log.sequences
    if set(log.listed) != set(PHASES):
        raise DataError(f"candidates are listed for {' and '.join(log.listed)}, but not for both phases")
    last = {}
    for phase, steps in log.listed.items():
        kept = np.flatnonzero(np.isin(steps.user, users))
        latest = kept[np.argsort(steps.position[kept])]
        # in reversed order, the first step of a user is the latest one
        _, index = np.unique(steps.user[latest][::-1], return_index=True)
        last[phase] = latest[::-1][index]
    asking = np.concatenate([log.listed[phase].user[last[phase]] for phase in PHASES])
    training = np.setdiff1d(users, asking)
    table = np.concatenate([training, np.unique(asking)])
    requests = {
        phase: replace(
            _asked(log, table, log.listed[phase].position[last[phase]]),
            allowed=log.listed[phase].candidates.take(last[phase]),
        )
        for phase in PHASES
    }
    return HeldOut(
        rule="by user, as the source lists",
        users=table,
        training=sequences.take(training),
        requests=requests,
        sample=None,
        cuts=None,
    )


def time_cut(log: Log, users: Ints, protocol: EvalProtocol, seed: int) -> HeldOut:
    """Cut the log at two moments, so that every training interaction is earlier than every target.

    The moments divide all possible targets, which are the interactions after a user's first, 8:1:1;
    interactions of the same moment stay together. A user has one request in a period.
    """
    _need_timestamps(log, protocol)
    sequences, moments = log.sequences, log.moments
    possible = np.ones(len(moments), dtype=bool)
    possible[sequences.offsets[:-1]] = False
    cuts = _cut_moments(moments[possible])
    possible &= np.isin(_rows(log), users)
    first, end = sequences.offsets[users], sequences.offsets[users + 1]
    early = np.concatenate([[0], np.cumsum(moments < cuts[0])])
    until = first + early[end] - early[first]
    positions = {
        "valid": np.flatnonzero(possible & (moments >= cuts[0]) & (moments < cuts[1])),
        "test": np.flatnonzero(possible & (moments >= cuts[1])),
    }
    samples = {"valid": protocol.sample_valid, "test": protocol.sample_test}
    chosen: dict[Phase, Ints] = {}
    for number, phase in enumerate(PHASES):
        rng = np.random.default_rng([seed, number])
        chosen[phase] = _one_a_user(log, positions[phase], protocol.request == "random", samples[phase], rng)
    trains = until > first
    asking = np.concatenate([_rows(log)[chosen[phase]] for phase in PHASES])
    table = np.concatenate([users[trains], np.setdiff1d(asking, users[trains])])
    training = Ragged.spans(sequences.values, first[trains], until[trains])
    return HeldOut(
        rule="time-cut",
        users=table,
        training=training,
        requests={phase: _asked(log, table, chosen[phase]) for phase in PHASES},
        sample=_sampled_targets(training, protocol.sample_training, np.random.default_rng([seed, 2])),
        cuts=cuts,
    )


def time_rows(log: Log, users: Ints, protocol: EvalProtocol) -> HeldOut:
    """Cut all rows at 80 % and 90 % of their number, in the order of their targets' moments.

    A row is an interaction after its user's first, with the earlier ones as history. Rows of one moment stand
    by user, so a cut may fall between them. A user asks once for each of its rows, and trains on the
    interactions up to its last row before the first cut; without such a row it only asks.
    """
    _need_timestamps(log, protocol)
    sequences, moments = log.sequences, log.moments
    is_row = np.ones(len(moments), dtype=bool)
    is_row[sequences.offsets[:-1]] = False
    rows = np.flatnonzero(is_row)
    rows = rows[np.argsort(moments[rows], kind="stable")]
    first, second = (int(tenths * len(rows) // 10) for tenths in ROW_TENTHS)
    period = {"valid": rows[first:second], "test": rows[second:]}
    asked = {phase: chosen[np.isin(_rows(log)[chosen], users)] for phase, chosen in period.items()}
    trained = np.bincount(_rows(log)[rows[:first]], minlength=len(log.user_ids))[users]
    trains = trained > 0
    start = sequences.offsets[users[trains]]
    training = Ragged.spans(sequences.values, start, start + 1 + trained[trains])
    asking = np.concatenate([_rows(log)[asked[phase]] for phase in PHASES])
    table = np.concatenate([users[trains], np.setdiff1d(asking, users[trains])])
    return HeldOut(
        rule="time-rows",
        users=table,
        training=training,
        requests={phase: _asked(log, table, asked[phase]) for phase in PHASES},
        sample=None,
        cuts=(_first_moment(moments[rows], first), _first_moment(moments[rows], second)),
    )


def _first_moment(ordered: Ints, place: int) -> int:
    """The moment of a row; of a period without a row, the last one there is."""
    return int(ordered[min(place, len(ordered) - 1)])


def _need_timestamps(log: Log, protocol: EvalProtocol) -> None:
    if not log.timestamped:
        raise UsageError(
            f"protocol '{protocol.name}' needs timestamps, and this dataset has only an order",
            fix="--protocol ilrec",
        )


def _cut_moments(moments: Ints) -> tuple[int, int]:
    """The moments at the two shares. DataError unless they leave three periods."""
    ordered = np.sort(moments)
    shares = (TRAINING_SHARE, TRAINING_SHARE + VALID_SHARE)
    cuts = [int(ordered[min(int(share * len(ordered)), len(ordered) - 1)]) for share in shares]
    if not ordered[0] < cuts[0] < cuts[1]:
        raise DataError(
            "the log cannot be cut in time",
            why=f"{len(np.unique(ordered))} distinct moments do not divide {len(ordered):,} targets 8:1:1",
            fix="--protocol ilrec",
        )
    return cuts[0], cuts[1]


def _one_a_user(
    log: Log, positions: Ints, at_random: bool, sample: int | None, rng: np.random.Generator
) -> Ints:
    """A position for each user, the first or a random one, of `sample` random users if given; ascending."""
    if not at_random:
        _, index = np.unique(_rows(log)[positions], return_index=True)
        positions = positions[index]
    drawn = positions[rng.permutation(len(positions))]
    _, index = np.unique(_rows(log)[drawn], return_index=True)
    return np.sort(drawn[np.sort(index)[:sample]])


def _sampled_targets(training: Ragged, sample: int | None, rng: np.random.Generator) -> Ints | None:
    """[S] indices of random targets, ascending; the first item of a row is no target."""
    if sample is None:
        return None
    targets = np.setdiff1d(np.arange(len(training.values)), training.offsets[:-1])
    return np.sort(rng.permutation(targets)[:sample])


def _asked(log: Log, table: Ints, positions: Ints) -> Asked:
    """The requests for the items at `positions`, by user; `table` is the split's user table."""
    rows = _rows(log)[positions]
    number = np.full(len(log.user_ids), -1, dtype=np.int64)
    number[table] = np.arange(len(table))
    order = np.lexsort((positions, number[rows]))
    positions, rows = positions[order], rows[order]
    same = np.zeros(len(log.moments) + 1, dtype=bool)  # same user and moment as the interaction before
    same[1:-1] = (log.moments[1:] == log.moments[:-1]) & (_rows(log)[1:] == _rows(log)[:-1])
    return Asked(
        user=number[rows],
        seen=Ragged.spans(log.sequences.values, log.sequences.offsets[rows], positions),
        target=log.sequences.values[positions],
        allowed=None,
        tied=int((same[positions] | same[positions + 1]).sum()),
    )


def _rows(log: Log) -> NDArray[np.int64]:
    """[N] the user of every interaction."""
    return np.repeat(np.arange(len(log.user_ids)), log.sequences.lengths)


def _with_lists(log: Log, split: HeldOut, phase: Phase, length: int, seed: int) -> Asked:
    """The requests with drawn candidates: the target and items that the user never chose, shuffled."""
    asked, num_items = split.requests[phase], len(log.item_ids)
    users = split.users[asked.user]
    chosen = log.sequences.lengths[users]
    if num_items - chosen.max() < length - 1:
        user = int(chosen.argmax())
        raise DataError(
            f"there are no {length} candidates for user '{log.user_ids[int(users[user])]}'",
            why=f"of {num_items:,} items the user has chosen {chosen[user]:,}",
            fix="--protocol ilrec",
        )
    taken = _rows(log) * num_items + log.sequences.values
    rng = np.random.default_rng([seed, PHASES.index(phase)])
    others = np.full((len(users), length - 1), -1, dtype=np.int64)
    redraw = others < 0
    while redraw.any():  # all items are drawn alike, so every set of unseen items is equally likely
        others[redraw] = rng.integers(num_items, size=int(redraw.sum()))
        order = np.argsort(others, axis=1, kind="stable")
        ordered = np.take_along_axis(others, order, axis=1)
        repeats = np.zeros_like(redraw)
        np.put_along_axis(repeats, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        redraw = repeats | np.isin(users[:, None] * num_items + others, taken)
    lists = rng.permuted(np.column_stack([asked.target, others]), axis=1)
    ends = length * np.arange(len(users) + 1)
    return replace(asked, allowed=Ragged(ends, lists.ravel()))
