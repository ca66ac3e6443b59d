"""Filter and order a raw log.

N interactions, U users, I items. Nothing in this module depends on the order of the rows in a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged
from recbench.dataset.card import Filter
from recbench.dataset.sources.raw import ItemText, Listed, RawLog
from recbench.errors import DataError
from recbench.protocol import Phase

MIN_SEQUENCE = 3
"""A user needs one training, one validation and one test item."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """S evaluation steps that the source prescribes, in no particular order."""

    user: Ints  # [S] rows of the log's user table
    position: Ints  # [S] of the target in `Log.sequences.values`
    candidates: Ragged  # S rows of items, the target among them, in the source's order


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Log:
    """A raw log after filtering. Users and items are numbered in the order of their ids."""

    user_ids: tuple[str, ...]  # [U]
    item_ids: tuple[str, ...]  # [I] items with at least one interaction
    texts: tuple[ItemText, ...]  # [I]
    sequences: Ragged  # U rows of items, oldest first
    moments: Ints  # as sequences.values: the timestamps, or the positions where there are none
    timestamped: bool
    counts: Mapping[str, int]
    """What each rule removed or noted, by its name in datasets/README.md."""
    listed: Mapping[Phase, Steps] = field(default_factory=dict)
    """Empty where the source prescribes no candidates."""
    ticks: int = 1
    """Units of the moments a second: the least of 1, 1000, ... in which all of them are whole."""

    @property
    def num_interactions(self) -> int:
        return len(self.sequences.values)


def ordered_ids(ids: Iterable[str]) -> list[str]:
    """Ids in order: by value if all are decimal integers, else by code point."""
    names = list(ids)
    if all(name.isascii() and name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def filtered(raw: RawLog, rules: Filter) -> Log:
    """Apply, in this order: metadata, titles, window of time, repeated pairs, k-core, short users; then sort
    and number.

    The first interaction of a repeated (user, item) pair stays, unless the rules keep all. Later rules only
    remove rows, so no pair is repeated after them. DataError where nothing is left.
    """
    users, user_names = _numbered(raw.user_ids)
    items, item_names = _numbered(raw.item_ids)
    first = raw.timestamps if raw.timestamps is not None else raw.positions
    assert first is not None, "a reader gives timestamps or positions"
    second = raw.positions if raw.positions is not None else np.zeros(len(first), dtype=np.int64)

    described = np.array([name in raw.items for name in item_names], dtype=bool)
    titles = [raw.items[name].title if name in raw.items else "" for name in item_names]
    titled = np.array([bool(title) for title in titles], dtype=bool)
    wanted = np.array([rules.wants(title) for title in titles], dtype=bool)
    keep = np.arange(len(users))
    counts = {"bad_json_lines": 0, "repeated_items": 0, **raw.counts}
    keep = _count(counts, "rows_without_metadata", keep, described[items[keep]])
    keep = _count(counts, "rows_without_title", keep, titled[items[keep]] | (not rules.titled_items))
    if rules.title_words or rules.title_letters or rules.title_without:
        keep = _count(counts, "rows_of_odd_title", keep, wanted[items[keep]])
    if rules.since or rules.until:
        keep = _count(counts, "rows_outside_window", keep, _inside(raw, rules)[keep])
    keep = keep[np.lexsort((second[keep], first[keep], items[keep], users[keep]))]
    is_first = _starts_pair(users[keep], items[keep])
    if rules.keeps_repeats:
        counts["repeated_pairs_kept"] = int((~is_first).sum())
    else:
        keep = _count(counts, "repeated_pairs", keep, is_first)
    in_core = core(users[keep], items[keep], rules.core, of_user=max(rules.core, MIN_SEQUENCE))
    keep = _count(counts, "rows_below_core", keep, in_core)
    lengths = np.bincount(users[keep], minlength=len(user_names))
    counts["short_users"] = int(((lengths > 0) & (lengths < MIN_SEQUENCE)).sum())
    keep = _count(counts, "rows_of_short_users", keep, lengths[users[keep]] >= MIN_SEQUENCE)
    if not len(keep):
        raise DataError("no interaction is left after filtering", why=_listed(counts))

    user_ids, user_rank = _ranked(user_names, users[keep])
    item_ids, item_rank = _ranked(item_names, items[keep])
    users, items = user_rank[users[keep]], item_rank[items[keep]]
    order = np.lexsort((items, second[keep], first[keep], users))
    texts = tuple(raw.items[name] for name in item_ids)
    counts["empty_titles"] = sum(not text.title for text in texts)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(user_ids)))]).astype(np.int64)
    sequences = Ragged(offsets, items[order])
    moments, ticks = coarsest(first[keep][order], raw.ticks)
    return Log(
        user_ids=user_ids,
        item_ids=item_ids,
        texts=texts,
        sequences=sequences,
        moments=moments,
        timestamped=raw.timestamps is not None,
        counts=counts,
        listed=_steps(raw.listed, user_ids, item_ids, sequences),
        ticks=ticks,
    )


def _inside(raw: RawLog, rules: Filter) -> NDArray[np.bool_]:
    """[N] whether an interaction lies in the window, whose two bounds belong to it."""
    if raw.timestamps is None:
        raise DataError(
            "a window of time needs timestamps, and this source has only an order",
            fix="remove since and until from the card's [filter], or name a source with timestamps",
        )
    first, last = rules.window
    inside = np.ones(len(raw.timestamps), dtype=bool)
    if first is not None:
        inside &= raw.timestamps >= first * raw.ticks
    if last is not None:
        inside &= raw.timestamps <= last * raw.ticks
    return inside


def coarsest(moments: Ints, ticks: int) -> tuple[Ints, int]:
    """The moments in the coarsest unit in which all are whole, and its units a second.

    So whole seconds are the same moments, whether a file gives them in seconds or in milliseconds.
    """
    while ticks > 1 and not (moments % 1000).any():
        moments, ticks = moments // 1000, ticks // 1000
    return moments, ticks


def _steps(
    listed: Sequence[Listed], users: Sequence[str], items: Sequence[str], sequences: Ragged
) -> dict[Phase, Steps]:
    """The steps of each phase. DataError for a step that the log does not have."""
    user_of = {name: row for row, name in enumerate(users)}
    item_of = {name: row for row, name in enumerate(items)}
    steps_of: dict[Phase, list[tuple[int, int, list[int]]]] = {}
    for phase, user, target, candidates in listed:
        unknown = [name for name in candidates if name not in item_of]
        if user not in user_of or unknown:
            what = f"item '{unknown[0]}'" if unknown else f"user '{user}'"
            raise DataError(f"a list of candidates names {what}, which has no interaction left")
        row = user_of[user]
        matches = np.flatnonzero(sequences[row] == item_of[target])
        if not len(matches) or matches[0] == 0:
            raise DataError(f"a list of candidates: item '{target}' follows no item of user '{user}'")
        position = int(sequences.offsets[row] + matches[0])
        steps_of.setdefault(phase, []).append((row, position, [item_of[name] for name in candidates]))
    return {
        phase: Steps(
            user=np.array([row for row, _, _ in steps], dtype=np.int64),
            position=np.array([position for _, position, _ in steps], dtype=np.int64),
            candidates=Ragged.of([candidates for _, _, candidates in steps]),
        )
        for phase, steps in steps_of.items()
    }


def core(users: Ints, items: Ints, at_least: int, *, of_user: int = 0) -> NDArray[np.bool_]:
    """[N] whether a row is in the k-core: both thresholds apply to the same counts, until nothing changes.

    `of_user` is the threshold for users where it is higher.
    """
    keep = np.ones(len(users), dtype=bool)
    of_user = max(at_least, of_user)
    while at_least > 1 and keep.any():
        enough = (np.bincount(users[keep]) >= of_user, np.bincount(items[keep]) >= at_least)
        kept = np.flatnonzero(keep)
        stays = enough[0][users[kept]] & enough[1][items[kept]]
        if stays.all():
            break
        keep[kept[~stays]] = False
    return keep


def _numbered(names: Sequence[str]) -> tuple[Ints, list[str]]:
    """Each name's number, [N], and the names by number."""
    numbers: dict[str, int] = {}
    codes = np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), np.int64, len(names))
    return codes, list(numbers)


def _ranked(names: Sequence[str], used: Ints) -> tuple[tuple[str, ...], Ints]:
    """The used names in order of id, and for each number its rank among them."""
    number_of = {names[number]: int(number) for number in np.unique(used)}
    ids = tuple(ordered_ids(number_of))
    rank = np.full(len(names), -1, dtype=np.int64)
    rank[[number_of[name] for name in ids]] = np.arange(len(ids))
    return ids, rank


def _starts_pair(users: Ints, items: Ints) -> NDArray[np.bool_]:
    """[N] whether a row of a log sorted by user and item is the first of its pair."""
    new = np.ones(len(users), dtype=bool)
    new[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    return new


def _count(counts: dict[str, int], rule: str, rows: Ints, stays: NDArray[np.bool_]) -> Ints:
    counts[rule] = int((~stays).sum())
    return rows[stays]


def _listed(counts: Mapping[str, int]) -> str:
    return "removed: " + (", ".join(f"{rule} {n:,}" for rule, n in counts.items() if n) or "nothing was read")
