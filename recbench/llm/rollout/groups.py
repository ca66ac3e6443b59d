"""Groups of the policy's own responses to training prompts.

P prompts, G responses of each, E examples, I items. A response is an identifier, that is a leaf of the trie:
items that share one are one response, and its item is the first of them by popularity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.data import Ints, Ragged
from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.sample import sample_leaves
from recbench.llm.decoding.search import search_exact
from recbench.llm.items.trie import Trie
from recbench.llm.model.policy import Policy
from recbench.llm.training.examples import NextItem

How = Literal["exact", "beam", "sample", "dynamic"]
"""`exact`: the policy's best by certified search. `beam`: a beam as wide as the group. `sample`: independent
draws. `dynamic`: half as many draws again, of which the target's are kept first, then one of each other item
in turn (ReRe)."""
MORE_DRAWS = 1.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResponseGroups:
    """The responses to P training prompts, best first, with what is known of them."""

    examples: NextItem
    example: Ints  # [P] the example of each prompt, whose history and target `examples` has
    items: Ints
    """[P, G] -1 where there is no response. A hit is the target itself."""
    scores: NDArray[np.float64]  # [P, G] summed log-probabilities under the policy, NaN where items is -1
    hit: Tensor  # [P, G] whether a response is the target's identifier
    num_read: int = 0
    """Tokens read to find them."""
    certified: float | None = None
    """Share of groups that are certainly the policy's best, where a search said so."""

    @property
    def found(self) -> Tensor:
        """[P, G] whether there is a response."""
        return torch.from_numpy(self.items >= 0)

    @property
    def target(self) -> Ints:
        """[P]"""
        return self.examples.target[self.example]


class Ask(NamedTuple):
    """How groups are made."""

    how: How
    size: int
    temperature: float = 1.0
    """Of draws, in training alone: log-probabilities are those at 1."""
    mask_history: bool = False
    """Whether items of the history are left out; not where fewer than two would remain."""


def make_groups(
    policy: Policy, examples: NextItem, example: Ints, ask: Ask, *, key: Sequence[int] = (0,)
) -> ResponseGroups:
    """The groups of the prompts of `example` [P].

    `key` is the seed of draws; an example's are its own, whatever prompts are asked with it.
    """
    one, others = named_items(policy.trie, policy.tie)
    histories = examples.history.take(example)
    num_leaves = policy.trie.num_items - len(others)
    excluded = None
    if ask.mask_history:
        excluded = Ragged.of(
            [left_out(one[policy.trie.leaf[items]], others, num_leaves) for items in histories]
        )
    elif len(others):
        excluded = Ragged.of([others] * len(example))
    prompts = policy.prompts.for_histories(histories)
    size = min(ask.size, num_leaves)
    certified: float | None = None
    if ask.how in ("exact", "beam"):
        options = {"k": size, "tie": policy.tie, "excluded": excluded}
        searched = (
            search_exact(policy.model, policy.trie, prompts, **options)
            if ask.how == "exact"
            else search_beam(policy.model, policy.trie, prompts, width=size, **options)
        )
        items, scores, num_read = searched.items, searched.scores, searched.num_read
        certified = float(searched.certified.mean()) if ask.how == "exact" else None
    else:
        count = ask.size if ask.how == "sample" else int(MORE_DRAWS * ask.size)
        shape = count, policy.trie.path.shape[1]
        chance = np.stack([np.random.default_rng([*key, e]).random(shape) for e in example.tolist()])
        leaves, scores, stats = sample_leaves(
            policy.model, policy.trie, prompts, chance, temperature=ask.temperature, excluded=excluded
        )
        num_read = int(stats["nodes"].sum() + stats["prompt_tokens"].sum())
        items = one[leaves]
        if ask.how == "dynamic":
            targets = one[policy.trie.leaf[examples.target[example]]]
            order = np.stack(
                [
                    kept_draws(row.tolist(), int(target), ask.size)
                    for row, target in zip(items, targets, strict=True)
                ]
            )
        else:
            order = np.argsort(-scores, axis=1, kind="stable")
        items, scores = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
    found = known_groups(policy.trie, examples, example, items, scores)
    return replace(found, num_read=num_read, certified=certified)


def left_out(history: Ints, others: Ints, num_leaves: int) -> Ints:
    """Items that may not be responses: `others`, and the history's unless fewer than two would remain."""
    taken = np.unique(history)
    return np.concatenate([others, taken]) if num_leaves - len(taken) >= 2 else others


def known_groups(
    trie: Trie,
    examples: NextItem,
    example: Ints,
    items: Ints,
    scores: NDArray[np.float64],
) -> ResponseGroups:
    """Groups of given responses; one that has the target's identifier becomes the target."""
    target = examples.target[example][:, None]
    hit = (items >= 0) & (trie.leaf[items.clip(0)] == trie.leaf[target])
    return ResponseGroups(
        examples=examples,
        example=example,
        items=np.where(hit, target, items),
        scores=scores,
        hit=torch.from_numpy(hit),
    )


def named_items(trie: Trie, tie: Ints) -> tuple[Ints, Ints]:
    """The item that stands for each leaf [N] (-1 at other nodes), the first in the order `tie` [I]; and the
    items that stand for none."""
    leaves, first = np.unique(trie.leaf[tie], return_index=True)
    one = np.full(len(trie), -1, dtype=np.int64)
    one[leaves] = tie[first]
    return one, np.setdiff1d(np.arange(trie.num_items), one)


def kept_draws(items: Sequence[int], target: int, size: int) -> Ints:
    """The places of `size` of the draws: those of the target, then one of each other item by falling
    frequency, earlier drawn first, round after round."""
    places: dict[int, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item, []).append(place)
    kept = places.pop(target, [])[:size]
    others = sorted(places.values(), key=len, reverse=True)
    rounds = (drawn[turn] for turn in range(len(items)) for drawn in others if turn < len(drawn))
    return np.array([*kept, *rounds][:size], dtype=np.int64)
