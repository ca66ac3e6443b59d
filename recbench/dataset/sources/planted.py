"""A synthetic dataset whose best ranking is known: every item has a fixed order of successors.

The next item of a user is a successor of the last one that the user has not seen, with probabilities that
fall by DECAY from each successor to the next. So no method can rank better than `best_ranking`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.base.files import write_text
from recbench.data import Ints
from recbench.dataset.card import Generator

SEED = 20
NUM_USERS, NUM_ITEMS = 600, 100
SHORTEST, LONGEST = 5, 20
DECAY = 0.5
FIRST_MOMENT, PERIOD_SECONDS, STEP_SECONDS = 1_600_000_000, 10_000_000, 1_000_000

COLOURS = ("amber", "blue", "crimson", "green", "ivory", "olive", "purple", "silver", "teal", "white")
THINGS = ("boat", "chair", "clock", "drum", "kettle", "lamp", "map", "mirror", "rope", "violin")


def successors() -> Ints:
    """[I, I] row i: all items, the likeliest successor of item i first."""
    # only `random` is used, because its stream has never changed between releases of numpy
    order: Ints = np.argsort(np.random.default_rng(SEED).random((NUM_ITEMS, NUM_ITEMS)), axis=1)
    return order.astype(np.int64)


def best_ranking(order: Ints, history: Sequence[int] | Ints) -> tuple[Ints, NDArray[np.float64]]:
    """The items that may follow a user's whole past `history`, best first, and the probability of each.

    The sum of the first K probabilities is the expected HR@K of the best ranking.
    """
    ranked = order[history[-1]]
    unseen = ~np.isin(ranked, history)
    chances = DECAY ** np.arange(len(ranked))[unseen]
    return ranked[unseen], chances / chances.sum()


def sequences() -> list[list[tuple[int, int]]]:
    """(item, Unix seconds) of every user, oldest first."""
    order = successors()
    rng = np.random.default_rng(SEED + 1)
    users = []
    for _ in range(NUM_USERS):
        length = SHORTEST + int(rng.random() * (LONGEST + 1 - SHORTEST))
        items = [int(rng.random() * NUM_ITEMS)]
        moments = [FIRST_MOMENT + int(rng.random() * PERIOD_SECONDS)]
        while len(items) < length:
            following, chances = best_ranking(order, items)
            rank = min(int(np.searchsorted(chances.cumsum(), rng.random())), len(following) - 1)
            items.append(int(following[rank]))
            moments.append(moments[-1] + 1 + int(rng.random() * STEP_SECONDS))
        users.append(list(zip(items, moments, strict=True)))
    return users


def write(folder: Path) -> None:
    """Write `interactions.csv` and `items.csv`, always the same bytes; each appears whole."""
    rows = [f"{user},{item},{at}" for user, events in enumerate(sequences()) for item, at in events]
    items = [f"{i},{COLOURS[i // 10]} {THINGS[i % 10]},{THINGS[i % 10]}" for i in range(NUM_ITEMS)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, header, lines in (
        ("interactions.csv", "user_id,item_id,timestamp", rows),
        ("items.csv", "item_id,title,categories", items),
    ):
        write_text(folder / name, "\n".join([header, *lines]) + "\n")


GENERATORS: Mapping[Generator, Callable[[Path], None]] = {"planted": write}
