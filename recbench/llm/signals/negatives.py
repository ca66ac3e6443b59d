"""Draws of rejected items [E, K], with -1 where too few are found; `samplers` gives them their names.

E examples, K rejected items of an example, I items. `key` is the seed of all draws; an example's are its own,
however many are drawn before it. `leaf` [I] is equal for items that share an identifier.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints
from recbench.errors import DataError
from recbench.llm.training.examples import NextItem


def uniform(examples: NextItem, leaf: Ints, count: int, *, key: int) -> Ints:
    """`count` items of different identifiers, none of them in the history or with the target's."""
    return _drawn(examples, leaf, np.ones(len(leaf)), count, key)


def popular(
    examples: NextItem, leaf: Ints, popularity: Ints, count: int, *, key: int, power: float = 0.75
) -> Ints:
    """As `uniform`, with probability proportional to the training count `popularity` [I] to `power`; a count
    of 0 is never drawn, but at power 0 all items are alike."""
    weight = popularity.astype(float) ** power if power else np.ones(len(leaf))
    return _drawn(examples, leaf, weight, count, key)


def _drawn(examples: NextItem, leaf: Ints, weight: NDArray[Any], count: int, key: int) -> Ints:
    if not weight.sum() > 0:
        raise DataError("no item can be drawn as a negative", why="none has a training interaction")
    share = np.cumsum(weight / weight.sum())
    drawn = np.full((len(examples), count), -1, dtype=np.int64)
    size = np.bincount(leaf[weight > 0], minlength=int(leaf.max()) + 1)  # items to draw, by identifier
    num_open = int((size > 0).sum())
    for example, history in enumerate(examples.history):
        rng = generator(key, example)
        own = int(leaf[examples.target[example]])
        seen = set(history.tolist())
        left = Counter(int(leaf[item]) for item in seen if weight[item] > 0)
        closed = sum(left[each] == size[each] for each in left if each != own) + int(size[own] > 0)
        wanted = min(count, num_open - closed)
        taken, items = {own}, list[int]()
        while len(items) < wanted:
            for item in np.searchsorted(share, rng.random(2 * count), side="right").tolist():
                if item not in seen and leaf[item] not in taken and len(items) < wanted:
                    taken.add(int(leaf[item]))
                    items.append(item)
        drawn[example, : len(items)] = items
    return drawn


def in_batch(examples: NextItem, leaf: Ints, count: int, *, key: int, block: int) -> Ints:
    """`count` distinct targets of the other examples in the same block of `block` examples, in an order that
    `key` draws; one of those that share an identifier."""
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


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """[I, D] each vector at length 1; those that have it, and those of length 0, as they are."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(length, 1e-30)
    return np.where(np.abs(length - 1) > 1e-6, scaled, vectors)


def generator(key: int, example: int) -> np.random.Generator:
    """The generator of one example, the same however many are drawn before it."""
    return np.random.Generator(np.random.Philox(key=[key, example]))
