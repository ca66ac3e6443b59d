"""Prompts: what they are made of, how they are shortened, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from recbench.errors import UsageError
from recbench.llm.items.identifiers import Identifiers, make_identifiers
from recbench.llm.items.prompts import Prompts, code_ids, make_prompts
from recbench.llm.items.templates import TEMPLATES
from recbench.llm.model.backbone import add_tokens, new_tokenizer
from recbench.settings import IdentifierSettings
from recbench.testing import toy_data


@pytest.fixture(scope="module")
def identifiers() -> Identifiers:
    return make_identifiers(toy_data(), IdentifierSettings(codes=8))


def tokenizer_with(codes: list[str]) -> Any:
    tokenizer = new_tokenizer(["red lamp", "Codes of the items chosen so far"], merges=64)
    add_tokens(tokenizer, codes)
    return tokenizer


def prompts_of(identifiers: Identifiers, kind: Any, *, max_length: int = 512) -> Prompts:
    tokenizer = tokenizer_with(identifiers.vocabulary())
    template = TEMPLATES[kind, "semantic-id"]
    return make_prompts(tokenizer, template, code_ids(tokenizer, identifiers), max_length=max_length)


def test_a_compact_prompt_continues_the_previous_prompt_and_response(identifiers: Identifiers) -> None:
    prompts = prompts_of(identifiers, "scratch")
    assert prompts.prompt([3]) + prompts.response(7) == prompts.prompt([3, 7])


def test_a_worded_prompt_reads_as_its_template_says(identifiers: Identifiers) -> None:
    tokenizer = tokenizer_with(identifiers.vocabulary())
    prompts = prompts_of(identifiers, "pretrained")
    first, second = ("".join(identifiers.tokens()[item]) for item in (3, 7))
    text = f"Codes of the items chosen so far, oldest first: {first}, {second}. Code of the next item:"
    spelled = tokenizer.decode(prompts.prompt([3, 7])[1:], clean_up_tokenization_spaces=False)
    assert spelled.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("kind", ["scratch", "pretrained"])
def test_prompt_ids_do_not_depend_on_the_response_and_the_response_ends_in_eos(
    identifiers: Identifiers, kind: str
) -> None:
    prompts = prompts_of(identifiers, kind)
    for item in range(30):
        ids, start = prompts.example([1, 2], item)
        assert ids[:start] == prompts.prompt([1, 2])
        assert ids[start:] == [*prompts.identifiers[item], prompts.eos]


def test_a_prompt_without_room_loses_its_oldest_items_and_never_the_response(
    identifiers: Identifiers,
) -> None:
    prompts = prompts_of(identifiers, "scratch", max_length=1 + 2 * 5 + 7)  # start, two items, and room
    ids, start = prompts.example([1, 2, 3], 4)
    assert ids == prompts.prompt([2, 3]) + prompts.response(4)
    assert start == 1 + 2 * 5


def test_a_context_too_short_for_one_item_is_refused(identifiers: Identifiers) -> None:
    with pytest.raises(UsageError, match="more than 8 tokens"):
        prompts_of(identifiers, "scratch", max_length=8).example([1], 2)


def test_a_tokenizer_that_splits_a_code_is_refused(identifiers: Identifiers) -> None:
    tokenizer = tokenizer_with(identifiers.vocabulary()[1:])
    with pytest.raises(UsageError, match=r"splits the code '<a_0>' \(codes split: 1\)"):
        code_ids(tokenizer, identifiers)


def test_any_text_survives_the_new_tokenizer() -> None:
    tokenizer = tokenizer_with(["<a_1>"])
    for text in ('He said "no"', "naïve 🎻 élan", "", " spaces  kept "):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
