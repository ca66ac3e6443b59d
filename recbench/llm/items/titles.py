"""Titles as identifiers (BIGRec): each item is named by the tokens of its title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recbench.data import Catalogue
from recbench.llm.items.templates import Template


@dataclass(frozen=True, slots=True, eq=False)
class Titles:
    """Titles as token ids, and the number of titles that are missing or cut."""

    ids: list[list[int]]  # [I] token ids, without EOS
    num_untitled: int
    """Items without a title, named by their id in the source."""
    num_cut: int
    """Items whose title was longer than the limit."""


def title_ids(tokenizer: Any, template: Template, catalogue: Catalogue, *, max_tokens: int) -> Titles:
    """Tokenise each title once, by itself; histories and responses use the same ids.

    A cut title keeps its first `max_tokens` tokens; items whose titles then are equal share an identifier.
    """
    texts = [template.title.replace("{title}", title) for title in titles(catalogue)]
    # a title that reads "</s>" is text like any other, not the end of a response
    ids: Sequence[list[int]] = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return Titles(
        ids=[row[:max_tokens] for row in ids],
        num_untitled=sum(not title for title in catalogue.titles),
        num_cut=sum(len(row) > max_tokens for row in ids),
    )


def titles(catalogue: Catalogue) -> list[str]:
    """[I] the name of each item: its title, or its id in the source if it has none."""
    pairs = zip(catalogue.titles, catalogue.item_ids, strict=True)
    return [title or f"item {name}" for title, name in pairs]
