"""Chat templates: the turn around a prompt, backbones without one, and their place in a run's identity."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recbench.comparison.block import block_of
from recbench.errors import UsageError
from recbench.llm.items.chat import chat_turn
from recbench.llm.items.templates import TITLES, template_digest
from recbench.llm.model import policy as policies
from recbench.llm.model.backbone import new_tokenizer
from recbench.llm.model.policy import Policy
from recbench.planning.resolve import Selection, rebuild_llm_settings, resolve
from recbench.settings import LLMSettings, PromptSettings
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.sft import SFT
from tests.unit.llm.model.gguf_files import small_llama, write_gguf

SaveBackbone = Callable[..., str]
CHAT = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)
DIGESTS = dict.fromkeys(("split", "catalogue"), "x")


def tokenizer_with(template: str | None) -> Any:
    tokenizer = new_tokenizer(["red lamp"], merges=8)
    tokenizer.chat_template = template
    return tokenizer


def test_a_turn_is_what_the_template_writes_around_the_users_text() -> None:
    assert chat_turn(tokenizer_with(CHAT), "mine") == ("<s>[user] ", "</s>[assistant] ")


def test_templates_that_tell_the_date_are_told_always_the_same() -> None:
    dated = "{% if not date_string is defined %}{% set date_string = strftime_now('%d') %}{% endif %}"
    before, _ = chat_turn(tokenizer_with(dated + "{{ date_string }} " + CHAT), "mine")
    assert before == "26 Jul 2024 <s>[user] "
    with pytest.raises(UsageError, match="chat template of backbone 'mine' cannot be used"):
        chat_turn(tokenizer_with("{{ strftime_now('%d') }}" + CHAT), "mine")


@pytest.mark.parametrize("template", ["hello", "{{ messages[0]['content'] * 2 }}"])
def test_a_template_that_does_not_show_the_prompt_once_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        chat_turn(tokenizer_with(template), "mine")


def chatting(backbone: str, *, chat: bool = True) -> LLMSettings:
    return replace(
        tiny_settings(backbone=backbone, paradigm="title", lora_rank=2),
        prompt=PromptSettings(chat_template=chat),
    )


def start(folder: Path, llm: LLMSettings) -> Policy:
    return policies.start(toy_data(), toy_run(folder, llm=llm))


def test_a_backbone_without_a_template_is_refused_by_name_before_anything_runs(
    tmp_path: Path, save_backbone: SaveBackbone
) -> None:
    for backbone in ("tiny", save_backbone()):
        llm = chatting(backbone)
        for refuse in (lambda llm=llm: SFT.identity(llm), lambda llm=llm: start(tmp_path / "fit", llm)):
            with pytest.raises(UsageError, match=f"backbone '{backbone}' has no chat template") as error:
                refuse()
            assert error.value.fix == "--set prompt.chat_template=false"


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json", "GGUF"])
def test_a_template_is_found_wherever_a_backbone_has_it(
    tmp_path: Path, save_backbone: SaveBackbone, place: str
) -> None:
    if place == "GGUF":
        backbone = str(write_gguf(tmp_path / "a.gguf", *small_llama(), chat_template=CHAT))
    else:
        folder = Path(backbone := save_backbone())
        text = CHAT
        if place == "tokenizer_config.json":
            text = json.dumps({**json.loads((folder / place).read_text()), "chat_template": CHAT})
        (folder / place).write_text(text)
    SFT.identity(chatting(backbone))
    prompt = start(tmp_path / "fit", chatting(backbone)).prompts.prompt([0])
    plain = start(tmp_path / "fit", chatting(backbone, chat=False)).prompts.prompt([0])
    assert len(prompt) > len(plain)


def test_the_prompt_is_the_users_turn_and_the_response_the_assistants(
    tmp_path: Path, save_backbone: SaveBackbone
) -> None:
    backbone = save_backbone()
    (Path(backbone) / "chat_template.jinja").write_text(CHAT)
    plain, chat = (start(tmp_path / "fit", chatting(backbone, chat=on)) for on in (False, True))
    text = chat.tokenizer.decode(chat.prompts.prompt([0, 1]))
    first, second = (chat.tokenizer.decode(chat.prompts.identifiers[item]) for item in (0, 1))
    assert text == f"<s>[user] {TITLES.head}{first}, {second}{TITLES.tail}</s>[assistant] "
    assert plain.tokenizer.decode(plain.prompts.prompt([0, 1])) == (
        f"<s>{TITLES.head}{first}, {second}{TITLES.tail}"
    )
    assert chat.prompts.response(0) == plain.prompts.response(0)


def test_the_setting_is_part_of_the_identity_and_survives_the_record(
    save_backbone: SaveBackbone,
) -> None:
    backbone = save_backbone()
    (Path(backbone) / "chat_template.jinja").write_text(CHAT)
    specs = [
        resolve(
            Selection(method="sft", dataset="toy", backbone=backbone, paradigm="title", settings=settings)
        ).spec(DIGESTS)
        for settings in ({}, {"prompt.chat_template": "false"}, {"prompt.chat_template": "true"})
    ]
    assert specs[0].id == specs[1].id != specs[2].id
    rebuilt = [rebuild_llm_settings(spec) for spec in specs]
    assert [llm is not None and llm.prompt.chat_template for llm in rebuilt] == [False, False, True]
    plain, chat = chatting(backbone, chat=False), chatting(backbone)
    assert template_digest(plain) != template_digest(chat)


def test_runs_with_and_without_the_template_are_in_different_blocks(make_bundle: Any) -> None:
    plain = make_bundle("sft", [1, 0], llm={"prompt": "a" * 64})
    chat = make_bundle("sft", [1, 0], llm={"prompt": "b" * 64, "chat_template": True})
    blocks = [block_of(run) for run in (plain, chat)]
    assert [block and block["prompt"] for block in blocks] == ["a" * 12, "chat " + "b" * 12]
