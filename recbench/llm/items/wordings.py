"""The questions and answers of LC-Rec's tasks, in recbench's own words. This module imports nothing heavy.

LC-Rec trains on six tasks: the next item; the next item where one side is text (`asymmetric`); an item's
identifier from its text and its text from its identifier; the next item for an `intention`; a user's
`preference`. Its intentions and preferences were written by a language model that read reviews. Here an
intention is the category of the item to come, and a preference the categories that a history has most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Literal, get_args

from recbench.base import digest
from recbench.llm.items.templates import ID, SLOT, template_digest
from recbench.settings import ONE_TASK, BackboneClass, LLMSettings, backbone_class

Task = Literal["sequential", "asymmetric", "item-to-id", "id-to-item", "intention", "preference"]
TASKS: tuple[Task, ...] = get_args(Task)
HISTORY, TITLES, LIKES = "{history}", "{titles}", "{likes}"
"""Slots about a user: the identifiers and the titles of the history, and its most frequent categories."""
TITLE, KIND = "{title}", "{kind}"
"""Slots about the item to come, or in the tasks without a user about any item, beside its identifier; `kind`
is its categories."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A question and its answer, with slots."""

    task: Task
    question: str
    answer: str

    @property
    def slots(self) -> frozenset[str]:
        return frozenset(SLOT.findall(self.question + self.answer))


# A pretrained model reads sentences. The first wording of the next item is the template that ranks; with
# these there are 17, as in LC-Rec.
SEQUENTIAL = (
    "Items picked by one person, from first to last: {history}. The pick that follows is",
    "{history} were chosen in this order. The choice after them:",
    "Continue this list of items by one: {history}, then",
    "A customer's purchases, oldest first: {history}. Recommend one more:",
    "Which code comes after {history}? Answer:",
    "So far: {history}. Up next:",
    "Someone went through {history}. Their next item will be",
    "Given the order {history}, the most likely successor is",
    "Past: {history}\nFuture:",
    "Shopping record: {history}. Predicted entry:",
    "If a visitor took {history} one after the other, offer them",
    "The trail of items reads {history}. It goes on with",
    "Read the history {history} and name the item that fits best after it:",
    "Recommend an item to a person whose earlier items are {history}. Item:",
    "History ({history}) -> next item:",
    "Last items, most recent at the end: {history}. What follows is",
)
PRETRAINED: tuple[Wording, ...] = (
    *(Wording("sequential", text, ID) for text in SEQUENTIAL),
    Wording("asymmetric", "Items chosen so far: {history}. Title of the next one: ", TITLE),
    Wording("asymmetric", "After {history} a person looks for something called ", TITLE),
    Wording("asymmetric", "Items chosen so far: {history}. Category of the next one: ", KIND),
    Wording("asymmetric", "After {history} a person looks for something of the kind ", KIND),
    Wording("asymmetric", "Titles chosen so far: {titles}. Code of the next item:", ID),
    Wording("asymmetric", "A person bought {titles}, in this order. Recommend a code:", ID),
    Wording("item-to-id", "The code of the item called {title} is", ID),
    Wording("item-to-id", "Item: {title}. Code:", ID),
    Wording("item-to-id", "The item {title} is of the kind {kind}. Its code:", ID),
    Wording("item-to-id", "Kind: {kind}. Title: {title}. Code:", ID),
    Wording("id-to-item", "The title of the item {id} is ", TITLE),
    Wording("id-to-item", "Code: {id}. Title: ", TITLE),
    Wording("id-to-item", "The item {id} is of the kind ", KIND),
    Wording("id-to-item", "Describe the item {id} by title and kind: ", "{title}, {kind}"),
    Wording("intention", "Earlier items: {history}. Now the person wants {kind}. Code of an item:", ID),
    Wording("intention", "A person who chose {history} searches for {kind}. Best result:", ID),
    Wording("intention", "Search: {kind}. Code of an item that fits:", ID),
    Wording("preference", "Items chosen so far: {history}. What the person likes: ", LIKES),
    Wording("preference", "The taste behind {history} in a few words: ", LIKES),
)
# A model trained from scratch learns no language: a cue tells it the task. The history is written as in its
# own template, so that the tasks share what they have in common.
SCRATCH: tuple[Wording, ...] = (
    Wording("asymmetric", "{history}{eos}title:", TITLE),
    Wording("asymmetric", "{history}{eos}kind:", KIND),
    Wording("asymmetric", "{titles}{eos}code:", ID),
    Wording("item-to-id", "name:{title}{eos}code:", ID),
    Wording("item-to-id", "name:{title}{eos}of:{kind}{eos}code:", ID),
    Wording("id-to-item", "item:{id}{eos}name:", TITLE),
    Wording("id-to-item", "item:{id}{eos}of:", KIND),
    Wording("intention", "{history}{eos}wants:{kind}{eos}code:", ID),
    Wording("intention", "wants:{kind}{eos}code:", ID),
    Wording("preference", "{history}{eos}likes:", LIKES),
)
WORDINGS: Mapping[BackboneClass, tuple[Wording, ...]] = {"scratch": SCRATCH, "pretrained": PRETRAINED}


def prompt_digest(llm: LLMSettings) -> str:
    """The digest of a block's prompts, those of its tasks included."""
    if llm.train.tasks == ONE_TASK:
        return template_digest(llm)
    wordings = [list(astuple(wording)) for wording in WORDINGS[backbone_class(llm.backbone)]]
    return digest.of_json([template_digest(llm), llm.train.tasks, wordings])


def plain_text(kind: BackboneClass) -> list[str]:
    """The words of the questions, without slots, for a tokenizer to learn."""
    return [SLOT.sub(" ", wording.question) for wording in WORDINGS[kind]]
