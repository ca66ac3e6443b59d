"""The rank of every user's target in every run of a table, small enough to stand on a page.

The ranks of a run are one text: a letter for each user, `a` for rank 1 to `z` for 26, then `A` for 27 to `Z`
for 52; a number for that many users in a row whose target is below the last place. So it needs no library to
be read, and it does not depend on one's version, as compressed bytes do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.board.model import Table
from recbench.results.bundle import Bundle
from recbench.results.request_features import request_numbers


def users_of(table: Table, runs: Mapping[str, Bundle]) -> dict[str, Any] | None:
    """Ids, the numbers of a user's requests where users ask repeatedly, and (run, seed, ranks) of each row;
    None where a run is missing or ranks deeper than 52."""
    wanted = [run for row in table.rows for run in row.runs]
    if not wanted or not runs.keys() >= set(wanted):
        return None
    if any(runs[run].ranks.max(initial=0) > len(ascii_letters) for run in wanted):
        return None
    first = runs[wanted[0]]
    return {
        "ids": [str(user) for user in first.users],
        "requests": request_numbers(first.users).tolist() if first.repeated else None,
        "runs": [
            [[run, seed, coded(runs[run].ranks)] for run, seed in zip(row.runs, row.seeds, strict=True)]
            for row in table.rows
        ],
    }


def coded(ranks: NDArray[np.int32]) -> str:
    return "".join(_parts(ranks.tolist()))


def _parts(ranks: Sequence[int]) -> Iterator[str]:
    for missed, group in groupby(ranks, key=lambda rank: rank == 0):
        inside = list(group)
        yield str(len(inside)) if missed else "".join(ascii_letters[rank - 1] for rank in inside)
