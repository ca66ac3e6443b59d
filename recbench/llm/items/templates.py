"""Prompt templates by backbone class and paradigm. This module imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from recbench.base import digest
from recbench.settings import BackboneClass, LLMSettings, Paradigm, backbone_class

SLOT = re.compile(r"({\w+})")
ID, EOS, CF = "{id}", "{eos}", "{cf}"
"""In a template: an item's identifier, the tokenizer's end-of-sequence token, and the token whose embedding
is the projection of the item's collaborative vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The text around the items of a prompt."""

    name: str
    head: str
    item: str
    """How an item of the history is written."""
    join: str
    tail: str
    title: str = "{title}"
    """How a title becomes an identifier."""

    @property
    def digest(self) -> str:
        return digest.of_json(list(astuple(self)))


# `compact` writes the history as the responses of earlier examples, so that a prompt continues the previous
# example's prompt and response token for token. A model trained from scratch has no use for words around the
# items; a pretrained model is told what the items are.
COMPACT = Template(name="compact", head="", item=ID, join=EOS, tail=EOS)
TITLES = Template(
    name="titles",
    head="A shopper chose the items listed below, oldest first. Name the next one.\nChosen so far: ",
    item=ID,
    join=", ",
    tail="\nNext: ",
    title='"{title}"',
)
TEMPLATES: Mapping[tuple[BackboneClass, Paradigm], Template] = {
    ("scratch", "semantic-id"): COMPACT,
    ("scratch", "title"): COMPACT,
    ("scratch", "hybrid"): Template(name="compact-hybrid", head="", item=ID + EOS + CF, join="", tail=""),
    ("pretrained", "semantic-id"): Template(
        name="codes",
        head="Codes of the items chosen so far, oldest first: ",
        item=ID,
        join=", ",
        tail=". Code of the next item:",
    ),
    ("pretrained", "title"): TITLES,
    ("pretrained", "hybrid"): Template(
        name="titles-hybrid",
        head=TITLES.head,
        item=f"{ID} {CF}",
        join=TITLES.join,
        tail=TITLES.tail,
        title=TITLES.title,
    ),
}


def template_digest(llm: LLMSettings) -> str:
    """The digest of a block's prompts, as far as the text is recbench's own; the backbone's digest covers the
    chat template."""
    template = TEMPLATES[backbone_class(llm.backbone), llm.paradigm]
    return digest.of_json([template.digest, "chat"]) if llm.prompt.chat_template else template.digest
