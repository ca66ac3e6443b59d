"""A policy of random weights over short identifiers, some of them shared, and examples with histories."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recbench.data import Ragged
from recbench.llm.items.trie import Trie
from recbench.llm.training.examples import NextItem
from tests.unit.llm.conftest import EOS, llama

# items 0 and 5 share an identifier, and so do 2 and 3; the first by popularity is 5, and 2
IDENTIFIERS = [[2, 5], [2, 6], [3], [3], [2, 6, 7], [2, 5], [4, 5], [4, 6]]
TIE = np.array([5, 2, 1, 0, 4, 3, 7, 6])


class Words:
    """Prompts that have a token for each item of the history."""

    def for_histories(self, histories: Ragged) -> list[list[int]]:
        return [[8, *(20 + history).tolist()] for history in histories]

    def response(self, item: int) -> list[int]:
        return [*IDENTIFIERS[item], EOS]

    def examples(self, history: list[int], responses: list[list[int]]) -> list[tuple[list[int], int]]:
        prompt = [8, *(20 + item for item in history)]
        return [(prompt + response, len(prompt)) for response in responses]


@pytest.fixture(scope="module")
def policy() -> Any:
    trie = Trie.build([[*identifier, EOS] for identifier in IDENTIFIERS])
    tokenizer = SimpleNamespace(pad_token_id=0)
    return SimpleNamespace(
        model=llama(3, sharpness=8.0), tokenizer=tokenizer, trie=trie, tie=TIE, prompts=Words(), inputs=None
    )


@pytest.fixture(scope="module")
def examples() -> NextItem:
    histories = [[1], [2, 4], [6, 7, 0], [4], [2, 4, 1]]
    rows: list[Any] = [
        SimpleNamespace(facts={"example": np.array(members)}, num_examples=len(members), input_ids=[0] * 4)
        for members in ([0], [1, 4], [2], [3])
    ]
    return NextItem(rows, np.arange(5), Ragged.of(histories), np.array([0, 3, 1, 6, 7]))
