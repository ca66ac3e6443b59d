"""The turn of a conversation that an instruct model's own chat template puts around a prompt."""

from __future__ import annotations

from typing import Any

from recbench.errors import UsageError

DATE = "26 Jul 2024"
"""What templates that tell the date are given, so that a prompt is the same on every day."""
_PROMPT = "\N{OBJECT REPLACEMENT CHARACTER}"


def no_template(backbone: str) -> UsageError:
    return UsageError(
        f"backbone '{backbone}' has no chat template",
        why="prompt.chat_template=true takes the model's own, and its tokenizer has none",
        fix="--set prompt.chat_template=false",
    )


def chat_turn(tokenizer: Any, backbone: str) -> tuple[str, str]:
    """The texts before and after a prompt that is the user's turn and that the assistant is to answer.

    UsageError where the tokenizer has no chat template, or one that asks for the time.
    """
    if not tokenizer.chat_template:
        raise no_template(backbone)
    turn = [{"role": "user", "content": _PROMPT}]
    text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, date_string=DATE)
    template = tokenizer.get_chat_template()
    if text.count(_PROMPT) != 1 or ("strftime_now" in template and "date_string" not in template):
        raise UsageError(
            f"the chat template of backbone '{backbone}' cannot be used",
            why="it must show the user's text once, and the same on every day",
            fix="--set prompt.chat_template=false",
        )
    before, _, after = text.partition(_PROMPT)
    return before, after
