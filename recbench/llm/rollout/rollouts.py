"""Rows of the policy's own responses, made anew in intervals of optimiser steps.

P prompts of the rows, G responses of each, R responses of all, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from recbench.data import Ints
from recbench.llm.items.prompts import Prompts
from recbench.llm.items.trie import Trie
from recbench.llm.model.policy import Policy
from recbench.llm.rollout.groups import Ask, ResponseGroups, make_groups
from recbench.llm.rollout.objective import GroupObjective
from recbench.llm.rollout.reference import Reference
from recbench.llm.training.examples import NextItem
from recbench.llm.training.made import Made, MadeRows
from recbench.llm.training.pack import Row, num_tokens, prefix_tree
from recbench.llm.training.scoring import token_logps

Reward = Callable[[ResponseGroups], Tensor]
"""[P, G] the reward of each response; what it is where there is none does not matter."""
Advantage = Callable[[ResponseGroups, Tensor], Tensor]
"""[P, G] the advantages of groups with these rewards."""
SYNC_SHARE = 0.6
"""Share of the policy that a reference which follows it takes at a time, as trl's default."""
SAMPLE = 16
"""Rows that are made before training where a budget of tokens asks how many a row has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """What is made of the policy, and how often."""

    ask: Ask
    refresh: int
    """Optimiser steps that train on rows made together."""
    sync: int
    """Optimiser steps after which the reference follows the policy; 0: never."""
    skip_flat: bool
    """Whether groups of equal rewards are left out of the mean."""
    precision: str
    seed: int


class Rollouts(MadeRows):
    """The rows of `examples` with the policy's own responses in place of the targets."""

    def __init__(
        self,
        policy: Policy,
        examples: NextItem,
        objective: GroupObjective,
        plan: RolloutPlan,
        *,
        reward: Reward,
        advantage: Advantage,
    ) -> None:
        self.policy, self.examples, self.objective, self.plan = policy, examples, objective, plan
        self.reward, self.advantage = reward, advantage
        self.refresh = plan.refresh
        self.reference = Reference(policy) if objective.beta else None
        self.followed = 0
        """Times that the reference has followed the policy."""

    def __len__(self) -> int:
        return len(self.examples.rows)

    def make(self, numbers: Sequence[int], step: int) -> Made:
        if self.reference is not None and self.plan.sync and step // self.plan.sync > self.followed:
            self.reference.follow(SYNC_SHARE)
            self.followed = step // self.plan.sync
        groups, rows = self._rolled(numbers, step)
        reward = self.reward(groups)
        advantage = self.advantage(groups, reward).masked_fill(~groups.found, 0.0)
        flat = (advantage == 0).all(1)
        self.objective.facts = facts_of(groups, reward, flat)
        columns = {
            "advantage": of_responses(rows, advantage),
            "kept": of_responses(rows, ~(flat & self.plan.skip_flat)[:, None].expand_as(advantage)),
        }
        num_read = groups.num_read
        if self.reference is not None:
            with self.reference.in_place():
                columns["reference"] = token_logps(self.policy, rows, precision=self.plan.precision)
            num_read += num_tokens(rows)
        if self.refresh > 1:
            columns["old"] = token_logps(self.policy, rows, precision=self.plan.precision)
            num_read += num_tokens(rows)
        return Made(with_columns(rows, columns), num_read)

    def num_tokens(self) -> int:
        """As many as rows made of the present weights would have, by a sample of them."""
        numbers = np.unique(np.linspace(0, len(self) - 1, SAMPLE).round().astype(int))
        _, rows = self._rolled(numbers.tolist(), 0)
        plain = [self.examples.rows[number] for number in numbers]
        return round(num_tokens(rows) / num_tokens(plain) * num_tokens(self.examples.rows))

    def save(self, folder: Path) -> None:
        if self.reference is not None and self.plan.sync:
            self.reference.save(folder)
            (folder / "followed").write_text(str(self.followed))

    def load(self, folder: Path) -> None:
        if self.reference is not None and self.plan.sync:
            self.reference.load(folder)
            self.followed = int((folder / "followed").read_text())

    def _rolled(self, numbers: Sequence[int], step: int) -> tuple[ResponseGroups, list[Row]]:
        example = np.concatenate([self.examples.rows[number].facts["example"] for number in numbers])
        key = [self.plan.seed, step]
        groups = make_groups(self.policy, self.examples, example, self.plan.ask, key=key)
        counts = [self.examples.rows[number].num_examples for number in numbers]
        return groups, rows_of(self.policy.prompts, self.policy.trie, groups, counts)


def rows_of(prompts: Prompts, trie: Trie, groups: ResponseGroups, counts: Sequence[int]) -> list[Row]:
    """Rows of the next `counts` prompts each, with all their responses.

    Columns, one value a response: `prompt`, its row in `groups`, and `place` in its group.
    """
    rows, end = [], 0
    for count in counts:
        sequences: list[tuple[list[int], int]] = []
        facts: dict[str, list[int]] = {"prompt": [], "place": []}
        for prompt in range(end, end + count):
            items = groups.items[prompt]
            places = np.flatnonzero(items >= 0)
            # in the order of the trie, in which responses share most of their beginnings
            places = places[np.argsort(trie.node_lo[trie.leaf[items[places]]], kind="stable")]
            history = groups.examples.history[int(groups.example[prompt])].tolist()
            sequences += prompts.examples(history, [prompts.response(int(item)) for item in items[places]])
            facts["prompt"] += [prompt] * len(places)
            facts["place"] += places.tolist()
        end += count
        rows.append(prefix_tree(sequences, {name: np.array(values) for name, values in facts.items()}))
    return rows


def of_responses(rows: Sequence[Row], values: Tensor) -> Any:
    """[R] the values [P, G] of the rows' responses, in the rows' order."""
    at = [np.concatenate([row.facts[name] for row in rows]) for name in ("prompt", "place")]
    return values.numpy()[at[0], at[1]]


def with_columns(rows: Sequence[Row], columns: Mapping[str, Any]) -> list[Row]:
    """The rows with columns of a value for each of their R responses."""
    ends: Ints = np.cumsum([row.num_examples for row in rows])
    return [
        replace(
            row,
            facts={
                **row.facts,
                **{name: values[end - row.num_examples : end] for name, values in columns.items()},
            },
        )
        for row, end in zip(rows, ends.tolist(), strict=True)
    ]


def facts_of(groups: ResponseGroups, reward: Tensor, flat: Tensor) -> dict[str, float]:
    """What is logged of groups: the shares of those with a hit, without an advantage and with a certificate
    of their order, the distinct items of all together and the mean reward."""
    found = groups.found
    known = {} if groups.certified is None else {"certified_share": groups.certified}
    return {
        "hit_share": float((groups.hit & found).any(1).double().mean()),
        "flat_share": float(flat.double().mean()),
        "distinct_items": float(len(np.unique(groups.items[found.numpy()]))),
        "reward": float(reward[found].double().mean()),
        **known,
    }
