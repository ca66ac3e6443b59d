"""The block of a run: what language-model methods must share for a difference to be that of the method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from recbench.base import digest
from recbench.results.bundle import Bundle

Kind = Literal["effect of the method", "difference between systems"]
Block = Mapping[str, str]
OWNER = "distribution"
"""The package of what other packages bring."""
NAMING_PARTS = ("paradigm", "backbone")


def block_of(run: Bundle) -> Block | None:
    """Each part of the run's block as text; None for a method that uses no language model.

    Identifiers and prompt are known by the digests of their content that the run recorded: equal settings
    may have given other codes. How long is trained, and how, is the method's own recipe and no part.
    """
    llm = run.spec.fit.llm
    if llm is None:
        return None
    return {
        "paradigm": setting_text(llm.get("paradigm")),
        "backbone": _named(llm.get("backbone"), llm.get("backbone_digest")),
        "identifiers": _named(_with_owner(llm), run.digests.get("identifiers")),
        "prompt": _named(
            "chat" if llm.get("chat_template") else None, run.digests.get("prompt") or llm.get("prompt")
        ),
        "ranker": setting_text(run.spec.ranker),
        "training": _training(llm.get("train") or {}),
    }


def block_names(blocks: Sequence[Block]) -> list[str]:
    """`semantic-id · tiny`: paradigm and backbone, then what tells blocks of these apart.

    A digest stands in a name only where nothing else differs.
    """
    heads = [short_block(block) for block in blocks]
    names = []
    for block, head in zip(blocks, heads, strict=True):
        alike = [other for other, its in zip(blocks, heads, strict=True) if its == head]
        own = [what for part in block if (what := _own(part, block, alike))]
        names.append(" · ".join([*head, *own]))
    return names


def short_block(block: Block) -> tuple[str, ...]:
    """Paradigm and backbone, which do not tell all blocks apart."""
    return tuple(without_digest(block[part]) for part in NAMING_PARTS)


def _own(part: str, block: Block, alike: Sequence[Block]) -> str:
    """The settings of a part that not all blocks share; empty where they share it."""
    values = [other[part] for other in alike]
    briefs = [without_digest(value) for value in values]
    texts = briefs if len(set(briefs)) == len(set(values)) else values
    settings = _told_apart(texts)
    mine = settings[values.index(block[part])]
    own = [setting for setting in mine if not all(setting in others for others in settings)]
    if len(set(values)) > 1 and (not own or own == ["none"]):
        return f"no {part}"
    return ", ".join(own)


def _told_apart(texts: Sequence[str]) -> list[list[str]]:
    """The settings of each text; of `exact[budget=2000,width=32]` the inner ones, where all are `exact`."""
    inside = [re.fullmatch(r"([\w-]+)\[([^\[\]]*)\]", text) for text in texts]
    found = [one.groups() for one in inside if one]
    if len(found) == len(texts) and len({name for name, _ in found}) == 1:
        return [settings.split(",") for _, settings in found]
    return [text.split(", ") for text in texts]


def without_digest(value: str) -> str:
    """A part of a block as a user would type it."""
    return re.sub(r" [0-9a-f]{12}$", "", value)


def system_differences(a: Sequence[Bundle], b: Sequence[Bundle]) -> list[str]:
    """What makes a - b a difference between systems: the parts of the block in which the runs differ."""
    sides = [[block_of(run) for run in side] for side in (a, b)]
    blocks = [[block for block in side if block is not None] for side in sides]
    if not any(blocks):
        return []
    if not all(blocks):
        return ["only one side uses a language model"]
    differences = []
    for part in blocks[0][0]:
        ours, theirs = ({block[part] for block in side} for side in blocks)
        if len(ours | theirs) > 1:
            values = (" or ".join(sorted(side)) for side in (ours, theirs))
            differences.append(f"{part}: {' and '.join(values)}")
    return differences


def _training(train: Mapping[str, Any]) -> str:
    """The window rule, what is trained, in which precision and which weights are kept, by the names of the
    settings."""
    names = ["pack"]
    if train.get("pack") == "user-blocks":
        names += ["block_items", "block_overlap"]
    names.append("lora_rank")
    if train.get("lora_rank"):
        names.append("lora_alpha")
    names.append("precision")
    if train.get("budget_epochs"):
        names.append("budget_epochs")
    names.append("tasks")  # absent from a fit of a single task
    if train.get("select", "last") != "last":  # bundles from before the choice have kept the last weights
        names.append("select")
    return ", ".join(f"{name}={train[name]}" for name in names if name in train) or "none"


def _with_owner(llm: Mapping[str, Any]) -> Any:
    """The settings of identifiers, and the package of their scheme where it is another one than recbench."""
    brought = llm.get("extensions", {}).get("identifiers")
    return {**llm["identifiers"], OWNER: brought["distribution"]} if brought else llm.get("identifiers")


def _named(value: Any, content: str | None) -> str:
    """A setting and the digest of what it stands for, cut to 12 digits; either may be missing."""
    texts = [setting_text(value)] if value is not None else []
    return " ".join([*texts, *([digest.short(content)] if content else [])]) or "none"


def setting_text(value: Any) -> str:
    """A setting as it would be typed: `exact[budget=100]`; identifiers bear the name of their source."""
    if not isinstance(value, Mapping):
        return "none" if value is None else str(value)
    name = str(value.get("name", value.get("source", "")))
    shown = (key for key in sorted(value) if key not in ("name", "source") and value[key] not in (None, ""))
    inside = ",".join(f"{key}={setting_text(_short(key, value[key]))}" for key in shown)
    return f"{name}[{inside}]" if inside else name


def _short(key: str, value: Any) -> Any:
    """The digest of a ranker's code is cut to 12 digits."""
    return digest.short(value) if key == "code" else value
