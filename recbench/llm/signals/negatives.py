"""Draws of rejected items [E, K], with -1 where too few are found; `samplers` gives them their names.

E examples, K rejected items of an example, I items. `key` is the seed of all draws; an example's are its own,
however many are drawn before it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, TrainingData
from recbench.errors import DataError
from recbench.llm.training.examples import NextItem


def uniform(examples: NextItem, data: TrainingData, count: int, *, key: int) -> Ints:
    """`count` distinct items, none of them the target or in the history."""
    return _drawn(examples, np.ones(data.num_items), count, key)


def popular(examples: NextItem, data: TrainingData, count: int, *, key: int, power: float = 0.75) -> Ints:
    """As `uniform`, with probability proportional to the training count to `power`; a count of 0 is never
    drawn."""
    popularity = data.catalogue.popularity
    return _drawn(examples, np.where(popularity > 0, popularity.astype(float) ** power, 0.0), count, key)


def _drawn(examples: NextItem, weight: NDArray[Any], count: int, key: int) -> Ints:
    if not weight.sum() > 0:
        raise DataError("no item can be drawn as a negative", why="none has a training interaction")
    share = np.cumsum(weight / weight.sum())
    drawn = np.full((len(examples), count), -1, dtype=np.int64)
    num_open = int((weight > 0).sum())
    for example, history in enumerate(examples.history):
        rng = generator(key, example)
        taken = {*history.tolist(), int(examples.target[example])}
        wanted = min(count, num_open - sum(weight[item] > 0 for item in taken))
        items: list[int] = []
        while len(items) < wanted:
            for item in np.searchsorted(share, rng.random(2 * count), side="right").tolist():
                if item not in taken and len(items) < wanted:
                    taken.add(item)
                    items.append(item)
        drawn[example, : len(items)] = items
    return drawn


def in_batch(examples: NextItem, leaf: Ints, count: int, *, key: int, block: int) -> Ints:
    """`count` distinct targets of the other examples in the same block of `block` examples, in an order that
    `key` draws; one of those that share an identifier, by the items' `leaf` [I]."""
    order = np.random.default_rng(key).permutation(len(examples))
    drawn = np.full((len(examples), count), -1, dtype=np.int64)
    for start in range(0, len(order), block):
        members = order[start : start + block]
        targets = examples.target[members]
        _, first = np.unique(leaf[targets], return_index=True)
        candidates = targets[np.sort(first)]
        for example in members.tolist():
            taken = np.append(examples.history[example], examples.target[example])
            own = leaf[examples.target[example]]
            choices = candidates[~np.isin(candidates, taken) & (leaf[candidates] != own)]
            chosen = generator(key, example).permutation(choices)[:count]
            drawn[example, : len(chosen)] = chosen
    return drawn


def similar(
    examples: NextItem,
    vectors: NDArray[np.float32],
    count: int,
    *,
    key: int,
    pool: int = 20,
    anchor: Literal["last", "target"] = "last",
    nearest: bool = False,
) -> Ints:
    """`count` of the `pool` items nearest to the anchor by `vectors` [I, D], ties by id: drawn, or the
    nearest."""
    drawn = np.full((len(examples), count), -1, dtype=np.int64)
    known: dict[int, Ints] = {}
    for example, history in enumerate(examples.history):
        item = int(history[-1] if anchor == "last" else examples.target[example])
        if item not in known:
            distance = ((vectors - vectors[item]) ** 2).sum(1)
            near = np.argsort(distance, kind="stable")
            known[item] = near[near != item][:pool]
        taken = np.append(history, examples.target[example])
        choices = known[item][~np.isin(known[item], taken)]
        if not nearest:
            choices = generator(key, example).permutation(choices)
        choices = choices[:count]
        drawn[example, : len(choices)] = choices
    return drawn


def generator(key: int, example: int) -> np.random.Generator:
    """The generator of one example, the same however many are drawn before it."""
    return np.random.Generator(np.random.Philox(key=[key, example]))
