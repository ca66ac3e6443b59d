"""What is held out of a log for validation and test, and who asks for it. Pure functions of the log.

R requests, U users, I items, S sampled training targets. A place is an index into `Log.sequences.values`;
what a user has seen before a target lies in front of its place.
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
"""Of a log that is cut in time; the rest is for testing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """The requests of one phase, by user; nobody asks twice."""

    user: Ints  # [R] rows of HeldOut.users
    seen: Ragged  # R rows: all earlier items of the user, oldest first, never empty
    target: Ints  # [R]
    allowed: Ragged | None  # R rows, the target among them, in an order that says nothing
    tied: int
    """Targets that would be another item if interactions of the same moment were ordered otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """A log after its split."""

    rule: str
    users: Ints  # [U] rows of the log's user table; those with training items come first
    training: Ragged  # one row for each of these
    requests: Mapping[Phase, Asked]
    sample: Ints | None  # [S] indices into training.values
    cuts: tuple[int, int] | None
    """The first moments that are no longer training, and no longer validation."""


def hold_out(log: Log, protocol: EvalProtocol, *, limit_users: int | None = None, seed: int = 0) -> HeldOut:
    """Split a log under a protocol, for all users or `limit_users` of them; `seed` decides all that is drawn.

    Where the protocol wants lists of candidates and the source prescribes them, its users are divided as
    the source says, else lists are drawn. UsageError for a protocol that this log does not allow,
    DataError where nothing would be left to learn or to ask.
    """
    users = drawn_users(len(log.user_ids), limit_users, seed)
    if protocol.candidates == "list" and log.listed:
        split = listed(log, users)
    elif protocol.split == "leave-one-out":
        split = leave_one_out(log, users)
    else:
        split = time_cut(log, users, protocol, seed)
    for phase in PHASES:
        if not len(split.requests[phase].target):
            raise DataError(f"nobody asks in the {phase} phase", why=f"{len(users):,} users, {split.rule}")
    if not len(split.training):
        raise DataError("nobody has training items", why=f"{len(users):,} users, {split.rule}")
    if protocol.list_length is not None and not log.listed:
        lists = {phase: _with_lists(log, split, phase, protocol.list_length, seed) for phase in PHASES}
        split = replace(split, requests=lists)
    return split


def drawn_users(num_users: int, limit: int | None, seed: int) -> Ints:
    """All users, or a random subset in ascending order. A smaller limit draws a part of a larger one's."""
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
    """Divide `users` as the source does: those with lists ask, the rest trains. Of a user's steps the last is
    asked for, so that users stay the unit of every test."""
    sequences = log.sequences
    if set(log.listed) != set(PHASES):
        raise DataError(f"candidates are listed for {' and '.join(log.listed)}, but not for both phases")
    last = {}
    for phase, steps in log.listed.items():
        kept = np.flatnonzero(np.isin(steps.user, users))
        latest = kept[np.argsort(steps.place[kept])]
        # the first of a user in reversed order is the latest step
        _, index = np.unique(steps.user[latest][::-1], return_index=True)
        last[phase] = latest[::-1][index]
    asking = np.concatenate([log.listed[phase].user[last[phase]] for phase in PHASES])
    training = np.setdiff1d(users, asking)
    table = np.concatenate([training, np.unique(asking)])
    requests = {
        phase: replace(
            _asked(log, table, log.listed[phase].place[last[phase]]),
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
    """Cut the log at two moments, so that no training interaction is as late as anything asked for.

    The moments divide all that could be asked for, the interactions of everybody with something before
    them, 8:1:1; interactions of the same moment stay together. A user asks for one interaction of a period.
    """
    if not log.timestamped:
        raise UsageError(
            f"protocol '{protocol.name}' needs timestamps, and this dataset has only an order",
            fix="--protocol ilrec",
        )
    sequences, moments = log.sequences, log.moments
    asked_for = np.ones(len(moments), dtype=bool)
    asked_for[sequences.offsets[:-1]] = False
    cuts = _cut_moments(moments[asked_for])
    asked_for &= np.isin(_rows(log), users)
    first, end = sequences.offsets[users], sequences.offsets[users + 1]
    early = np.concatenate([[0], np.cumsum(moments < cuts[0])])
    until = first + early[end] - early[first]
    places = {
        "valid": np.flatnonzero(asked_for & (moments >= cuts[0]) & (moments < cuts[1])),
        "test": np.flatnonzero(asked_for & (moments >= cuts[1])),
    }
    samples = {"valid": protocol.sample_valid, "test": protocol.sample_test}
    chosen: dict[Phase, Ints] = {}
    for number, phase in enumerate(PHASES):
        rng = np.random.default_rng([seed, number])
        chosen[phase] = _one_a_user(log, places[phase], protocol.request == "random", samples[phase], rng)
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


def _cut_moments(moments: Ints) -> tuple[int, int]:
    """The moments at the two shares. DataError where they do not leave three periods."""
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
    log: Log, places: Ints, at_random: bool, sample: int | None, rng: np.random.Generator
) -> Ints:
    """One place a user, the first or any of theirs, of `sample` users where that is given; ascending."""
    if not at_random:
        _, index = np.unique(_rows(log)[places], return_index=True)
        places = places[index]
    drawn = places[rng.permutation(len(places))]
    _, index = np.unique(_rows(log)[drawn], return_index=True)
    return np.sort(drawn[np.sort(index)[:sample]])


def _sampled_targets(training: Ragged, sample: int | None, rng: np.random.Generator) -> Ints | None:
    """[S] indices of targets, ascending; a row's first item is none."""
    if sample is None:
        return None
    targets = np.setdiff1d(np.arange(len(training.values)), training.offsets[:-1])
    return np.sort(rng.permutation(targets)[:sample])


def _asked(log: Log, table: Ints, places: Ints) -> Asked:
    """The requests for the items at `places`, by user; `table` is the split's user table."""
    rows = _rows(log)[places]
    number = np.full(len(log.user_ids), -1, dtype=np.int64)
    number[table] = np.arange(len(table))
    order = np.argsort(number[rows])
    places, rows = places[order], rows[order]
    same = np.zeros(len(log.moments) + 1, dtype=bool)  # as the interaction before, of the same user
    same[1:-1] = (log.moments[1:] == log.moments[:-1]) & (_rows(log)[1:] == _rows(log)[:-1])
    return Asked(
        user=number[rows],
        seen=Ragged.spans(log.sequences.values, log.sequences.offsets[rows], places),
        target=log.sequences.values[places],
        allowed=None,
        tied=int((same[places] | same[places + 1]).sum()),
    )


def _rows(log: Log) -> NDArray[np.int64]:
    """[N] the user of every interaction."""
    return np.repeat(np.arange(len(log.user_ids)), log.sequences.lengths)


def _with_lists(log: Log, split: HeldOut, phase: Phase, length: int, seed: int) -> Asked:
    """The requests with lists of candidates: the target and items that the user never chose, shuffled."""
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
    while redraw.any():  # no item is treated unlike another, so every set of unseen items is equally likely
        others[redraw] = rng.integers(num_items, size=int(redraw.sum()))
        order = np.argsort(others, axis=1, kind="stable")
        ordered = np.take_along_axis(others, order, axis=1)
        repeats = np.zeros_like(redraw)
        np.put_along_axis(repeats, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        redraw = repeats | np.isin(users[:, None] * num_items + others, taken)
    lists = rng.permuted(np.column_stack([asked.target, others]), axis=1)
    ends = length * np.arange(len(users) + 1)
    return replace(asked, allowed=Ragged(ends, lists.ravel()))
