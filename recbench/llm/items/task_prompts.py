"""Write the examples of LC-Rec's tasks as token ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from recbench.data import Catalogue
from recbench.llm.items.prompts import Prompts, encode
from recbench.llm.items.templates import EOS, ID
from recbench.llm.items.titles import titles
from recbench.llm.items.wordings import HISTORY, KIND, LIKES, TITLE, TITLES, Wording
from recbench.settings import BackboneClass

MOST_TOKENS = 64
"""Longer titles and categories are cut."""
LIKED = 3
"""Categories of a preference."""
QUOTED = {"scratch": "{}", "pretrained": '"{}"'}


@dataclass(frozen=True, slots=True, eq=False)
class TaskPrompts:
    """Questions and answers about a catalogue of I items, around the identifiers of `prompts`."""

    tokenizer: Any
    prompts: Prompts
    titles: list[list[int]]  # [I] token ids of the title; of a substitute where there is none
    has_title: list[bool]  # [I]
    kinds: list[list[int]]  # [I] token ids of the categories, empty where there are none
    categories: Sequence[str]  # [I]
    _pieces: dict[str, list[int]] = field(default_factory=dict)

    def answers(self, wording: Wording, history: Sequence[int], item: int) -> bool:
        """Whether the items have what the wording asks for."""
        needs = {
            TITLE: self.has_title[item],
            KIND: bool(self.kinds[item]),
            TITLES: any(self.has_title[one] for one in history),
            LIKES: bool(self.liked(history)),
        }
        return all(needs.get(slot, True) for slot in wording.slots)

    def example(self, wording: Wording, history: Sequence[int], item: int) -> tuple[list[int], int] | None:
        """Token ids of question and answer together, and the index where the answer starts.

        The oldest items of the history are left out where the model has no room for all; None where it has
        none for a single item.
        """
        answer = [*self._fill(wording.answer, history, item), self.prompts.eos]
        for first in range(max(1, len(history))):
            middle = self._fill(wording.question, history[first:], item)
            question = [*self.prompts.start, *middle, *self.prompts.end]
            if len(question) + len(answer) <= self.prompts.max_length:
                return question + answer, len(question)
        return None

    def liked(self, history: Sequence[int]) -> list[int]:
        """An item of each of the most frequent categories of a history, the most frequent first.

        Of equally frequent ones the latest comes first.
        """
        latest: dict[str, int] = {}
        for item in reversed(history):
            latest.setdefault(self.categories[item], item)
        counts = Counter(self.categories[item] for item in history)
        ordered = sorted(latest, key=lambda kind: -counts[kind])  # a stable sort keeps the latest first
        return [latest[kind] for kind in ordered if self.kinds[latest[kind]]][:LIKED]

    def _fill(self, text: str, history: Sequence[int], item: int) -> list[int]:
        prompts = self.prompts
        slots = {
            EOS: [prompts.eos],
            ID: prompts.identifiers[item],
            TITLE: self.titles[item],
            KIND: self.kinds[item],
            HISTORY: _joined([prompts.identifiers[one] for one in history], prompts.join),
            TITLES: _joined([self.titles[one] for one in history], prompts.join),
        }
        if LIKES in text:
            slots[LIKES] = _joined([self.kinds[one] for one in self.liked(history)], self._words("; "))
        return encode(self._words, text, slots)

    def _words(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._pieces[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._pieces[text]


def task_prompts(tokenizer: Any, prompts: Prompts, catalogue: Catalogue, kind: BackboneClass) -> TaskPrompts:
    """Tokenise titles and categories once, each by itself."""

    def ids(texts: Sequence[str]) -> list[list[int]]:
        quoted = [QUOTED[kind].format(text) if text else "" for text in texts]
        rows = tokenizer(quoted, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [row[:MOST_TOKENS] for row in rows]

    return TaskPrompts(
        tokenizer=tokenizer,
        prompts=prompts,
        titles=ids(titles(catalogue)),
        has_title=[bool(title) for title in catalogue.titles],
        kinds=ids(catalogue.categories),
        categories=catalogue.categories,
    )


def _joined(parts: Sequence[list[int]], join: list[int]) -> list[int]:
    return [token for number, part in enumerate(parts) for token in ((join if number else []) + part)]
