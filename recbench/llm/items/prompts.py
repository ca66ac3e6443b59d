"""Build prompts as token ids. Training, scoring and generation share this builder, so all see the same ids.

A prompt is head + item + join + item + ... + tail, each piece tokenised on its own; a response is an
identifier and EOS. No token ever spans two pieces, so a prompt's ids never depend on what follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbench.base import digest
from recbench.data import Ragged
from recbench.errors import UsageError
from recbench.llm.items.identifiers import Identifiers
from recbench.llm.items.templates import CF, EOS, ID, SLOT, Template


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Token ids of prompts and responses over one catalogue."""

    head: list[int]
    items: list[list[int]]  # [I] an item in a history
    join: list[int]
    tail: list[int]
    identifiers: list[list[int]]  # [I] without EOS
    eos: int
    max_length: int
    """Most tokens of a prompt with its response."""
    room: int
    """Tokens that every prompt leaves free, and the most that an answer may have: two more than the longest
    response."""
    start: list[int]
    end: list[int]
    """What every prompt begins and ends with, whatever it asks: the sequence's first token, a chat turn."""

    def prompt(self, history: Sequence[int]) -> list[int]:
        ids = list(self.head)
        for position, item in enumerate(history):
            ids += self.join if position else []
            ids += self.items[int(item)]
        ids += self.tail
        return ids

    def response(self, item: int) -> list[int]:
        return [*self.identifiers[item], self.eos]

    @property
    def digest(self) -> str:
        """Digest of the identifiers as the model reads and writes them."""
        return digest.of_json(self.identifiers)

    @property
    def num_collided(self) -> int:
        """Items that share their identifier with at least one other item."""
        counts = Counter(map(tuple, self.identifiers))
        return sum(count for count in counts.values() if count > 1)

    def prompt_with_room(self, history: Sequence[int]) -> list[int]:
        """The prompt of `history`, without its oldest items if they would leave no `room`.

        Training, scoring and generation use this prompt, whatever the response. Raises UsageError if not even
        one item fits.
        """
        for first in range(len(history)):
            prompt = self.prompt(history[first:])
            if len(prompt) + self.room <= self.max_length:
                return prompt
        raise UsageError(
            f"a prompt with one item and its response has more than {self.max_length} tokens",
            why="the backbone's context is too short for this dataset's identifiers",
            fix="choose a backbone with a longer context",
        )

    def for_histories(self, histories: Ragged) -> list[list[int]]:
        """The prompt of every history, each with room for its response."""
        return [self.prompt_with_room(history.tolist()) for history in histories]

    def example(self, history: Sequence[int], item: int) -> tuple[list[int], int]:
        """Token ids of the prompt and the response together, and the index where the response starts."""
        return self.examples(history, [self.response(item)])[0]

    def examples(self, history: Sequence[int], responses: Sequence[list[int]]) -> list[tuple[list[int], int]]:
        """As `example`, for several responses to one prompt. A response is never cut."""
        prompt = self.prompt_with_room(history)
        return [(prompt + response, len(prompt)) for response in responses]


def make_prompts(
    tokenizer: Any,
    template: Template,
    identifiers: list[list[int]],
    *,
    max_length: int,
    first_item_id: int | None = None,
    turn: tuple[str, str] | None = None,
) -> Prompts:
    """Tokenise a template around the items' `identifiers`.

    `turn` are the texts that a chat template puts before and after a prompt; it writes the beginning of the
    sequence itself.

    In a template with collaborative tokens, that of item i is the id `first_item_id + i`.
    """
    eos = [tokenizer.eos_token_id]

    def words(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    end: list[int] = []
    if turn is not None:
        start, end = (encode(words, text, {EOS: eos}) for text in turn)
    return Prompts(
        head=start + encode(words, template.head, {EOS: eos}),
        items=[
            encode(words, template.item, {EOS: eos, ID: ids, CF: [(first_item_id or 0) + item]})
            for item, ids in enumerate(identifiers)
        ],
        join=encode(words, template.join, {EOS: eos}),
        tail=encode(words, template.tail, {EOS: eos}) + end,
        identifiers=identifiers,
        eos=tokenizer.eos_token_id,
        max_length=max_length,
        room=max(map(len, identifiers)) + 3,
        start=start,
        end=end,
    )


def encode(words: Callable[[str], list[int]], text: str, slots: Mapping[str, list[int]]) -> list[int]:
    """The token ids of `text`: those of its slots, and of the `words` between them, each piece on its own."""
    pieces = filter(None, SLOT.split(text))
    return [token for piece in pieces for token in (slots[piece] if piece in slots else words(piece))]


def code_ids(tokenizer: Any, identifiers: Identifiers) -> list[list[int]]:
    """[I] token ids of the items' codes. Raises UsageError if a code is not a single token."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in identifiers.vocabulary()}
    unknown = [token for token, number in ids.items() if number in (None, tokenizer.unk_token_id)]
    split = [
        token for token in ids if tokenizer(token, add_special_tokens=False)["input_ids"] != [ids[token]]
    ]
    if unknown or split:
        raise UsageError(
            f"the tokenizer splits the code {(unknown or split)[0]!r} (codes split: {len(unknown or split)})",
            why="each code must be one added token, or trie and loss would see different sequences",
        )
    return [[ids[token] for token in row] for row in identifiers.tokens()]
