"""One prompt builder for training, scoring and generation, so that all of them see the same ids.

A prompt is head + item + join + item + ... + tail, each piece tokenised on its own; a response is an
identifier and EOS. No token ever spans two pieces, so a prompt's ids never depend on what follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbench import digest
from recbench.errors import UsageError
from recbench.llm.identifiers import Identifiers
from recbench.settings import BackboneClass

EOS = "{eos}"
"""In a template: the tokenizer's own end-of-sequence token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    name: str
    head: str
    join: str
    tail: str

    @property
    def digest(self) -> str:
        return digest.of_json([self.name, self.head, self.join, self.tail])


# `compact` writes the history as the very responses that were right before, so that a prompt continues
# the previous example's prompt and response token for token. A model trained from scratch has no use for
# the words of a template; a pretrained one is told what it sees.
TEMPLATES: Mapping[BackboneClass, Template] = {
    "tiny": Template(name="compact", head="", join=EOS, tail=EOS),
    "pretrained": Template(
        name="codes",
        head="Codes of the items chosen so far, oldest first: ",
        join=", ",
        tail=". Code of the next item:",
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Token ids of prompts and responses over one catalogue."""

    head: list[int]
    join: list[int]
    tail: list[int]
    identifiers: list[list[int]]  # [I] without EOS
    eos: int
    max_length: int
    """Tokens that prompt and response together may have."""

    def prompt(self, history: Sequence[int]) -> list[int]:
        ids = list(self.head)
        for place, item in enumerate(history):
            ids += self.join if place else []
            ids += self.identifiers[int(item)]
        ids += self.tail
        return ids

    def response(self, item: int) -> list[int]:
        return [*self.identifiers[item], self.eos]

    def prompt_with_room(self, history: Sequence[int], room: int) -> list[int]:
        """The prompt, without the oldest items where it would leave fewer than `room` tokens.

        Raises UsageError where not even one item fits.
        """
        for first in range(len(history)):
            prompt = self.prompt(history[first:])
            if len(prompt) + room <= self.max_length:
                return prompt
        raise UsageError(
            f"a prompt with one item and its response has more than {self.max_length} tokens",
            why="the backbone's context is too short for this data set's identifiers",
            mend="choose a backbone with a longer context",
        )

    def example(self, history: Sequence[int], item: int) -> tuple[list[int], int]:
        """Ids of prompt and response, and where the response starts. The response is never cut."""
        response = self.response(item)
        prompt = self.prompt_with_room(history, len(response))
        return prompt + response, len(prompt)

    @property
    def longest_response(self) -> int:
        return max(len(identifier) for identifier in self.identifiers) + 1


def make_prompts(tokenizer: Any, template: Template, identifiers: Identifiers, *, max_length: int) -> Prompts:
    """Tokenise a template and all identifiers; every code must be one token."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in identifiers.vocabulary()}
    unknown = [token for token, number in ids.items() if number in (None, tokenizer.unk_token_id)]
    split = [
        token for token in ids if tokenizer(token, add_special_tokens=False)["input_ids"] != [ids[token]]
    ]
    if unknown or split:
        raise UsageError(
            f"the tokenizer splits the code {(unknown or split)[0]!r} ({len(unknown or split)} codes in all)",
            why="each code must be one added token, or the trie and the loss see other sequences",
        )

    def encode(text: str) -> list[int]:
        pieces = text.split(EOS)
        encoded: list[int] = []
        for place, piece in enumerate(pieces):
            encoded += [tokenizer.eos_token_id] if place else []
            encoded += tokenizer(piece, add_special_tokens=False)["input_ids"] if piece else []
        return encoded

    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return Prompts(
        head=start + encode(template.head),
        join=encode(template.join),
        tail=encode(template.tail),
        identifiers=[[ids[token] for token in row] for row in identifiers.tokens()],
        eos=tokenizer.eos_token_id,
        max_length=max_length,
    )
