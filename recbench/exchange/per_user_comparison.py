"""Per-user files compared with each other, with the tests that finished runs get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recbench.comparison.compare import between, check_margin
from recbench.comparison.family import Family, family_of, pairs_of
from recbench.comparison.pair_estimates import of_values
from recbench.data import Ints
from recbench.errors import DigestError, UsageError, unknown_name
from recbench.exchange.per_user_file import PerUser
from recbench.results.metrics import by_user

SHOWN = 3  # users in a note
SAME = ("dataset", "protocol", "phase")
LEAST_USERS = 2


def compare_files(
    files: Sequence[PerUser], metric: str, *, reference: str | None = None, margin: float | None = None
) -> Family:
    """Compare the methods of the files over the users that all of them have, for every seed.

    Users that some file lacks are left out, and a note says how many. A file is named by its `method`, by the
    file where several share one. UsageError for a file given twice, DigestError where the files have other
    data or fewer than two users in common.
    """
    names = _names(files)
    if reference is not None and reference not in names:
        raise unknown_name("method among those compared", reference, names)
    check_margin(margin)
    _check_same_data(files)
    users, notes = _common_users(files, names)
    seeds = [tuple(sorted(file.values, key=lambda seed: (seed is not None, seed))) for file in files]
    sides = [
        np.array([[file.values[seed][user] for user in users] for seed in own])
        for file, own in zip(files, seeds, strict=True)
    ]
    asking = _numbers([files[0].user_of[request] for request in users])
    estimates = of_values([by_user(side, asking) for side in sides])
    pairs = [(names.index(a), names.index(b)) for a, b in pairs_of(names, reference)]
    found = [
        between(
            sides[a],
            sides[b],
            estimates[a, b],
            names=(names[a], names[b]),
            metric=metric,
            num_tests=len(pairs),
            margin=margin,
            seeds=(seeds[a], seeds[b]),
            asking=asking,
        )
        for a, b in pairs
    ]
    return family_of([replace(one, notes=(*notes, *one.notes)) for one in found], all_pairs=reference is None)


def _numbers(users: Sequence[str]) -> Ints | None:
    """[R] the number of each request's user; None where nobody asks twice."""
    names, numbers = np.unique(np.array(users), return_inverse=True)
    return None if len(names) == len(users) else numbers.astype(np.int64)


def _names(files: Sequence[PerUser]) -> list[str]:
    methods = [file.about.get("method", file.file.stem) for file in files]
    names = [
        method if methods.count(method) == 1 else str(file.file)
        for method, file in zip(methods, files, strict=True)
    ]
    if len(set(names)) < len(names):
        raise UsageError("a file cannot be compared with itself", why=f"given: {', '.join(names)}")
    return names


def _check_same_data(files: Sequence[PerUser]) -> None:
    for name in SAME:
        said = {file.about[name]: file.file for file in files if name in file.about}
        if len(said) > 1:
            (ours, first), (theirs, second) = list(said.items())[:2]
            raise DigestError(
                f"{first} and {second} differ in the {name}",
                why=f"{ours} and {theirs}",
                fix="compare files of the same users, asked the same",
            )


def _common_users(files: Sequence[PerUser], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The requests that every file has for each of its seeds, and a note for each file that has others."""
    whole = [set.intersection(*(set(users) for users in file.values.values())) for file in files]
    common = set.intersection(*whole)
    users = {files[0].user_of[request] for request in common}
    if len(users) < LEAST_USERS:
        raise DigestError(
            f"the files have {len(users)} users in common",
            why="; ".join(f"{file.file}: {_some(has)}" for file, has in zip(files, whole, strict=True)),
            fix="use the ids of recbench data export in both",
        )
    notes = []
    for name, file in zip(names, files, strict=True):
        others = set().union(*file.values.values()) - common
        if others:
            notes.append(
                f"{len(others):,} of {len(others) + len(common):,} "
                f"{'users' if len(users) == len(common) else 'requests'} of {name} are left out, as not "
                f"every file and seed has them: {_some(others)}"
            )
    return [user for user in next(iter(files[0].values.values())) if user in common], notes


def _some(users: set[str]) -> str:
    shown = sorted(users)[:SHOWN]
    return ", ".join(shown) + (", ..." if len(users) > SHOWN else "")
