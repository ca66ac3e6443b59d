"""The commands that make a board's rows, from their labels and from the parts of their block."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from recbench.base import params
from recbench.base.words import is_plain
from recbench.board.model import BoardRow, Table
from recbench.comparison.block import OWNER, without_digest
from recbench.settings import (
    DEFAULT_RANKER,
    IDENTIFIER_DEFAULTS,
    IDENTIFIERS,
    RANKERS,
    Paradigm,
    for_backbone,
)

SETTINGS = ("train.", "identifiers.", "prompt.", "ranker.")
BUDGET = "budget_epochs"


def again(row: BoardRow, table: Table) -> str:
    """The command that makes the row's runs with the settings that its label and its block name.

    Empty for a ranking made elsewhere and for a label that cannot be typed.
    """
    name, values = recipe_of(row.label)
    if row.external or not name or not is_plain(row.label + table.dataset):
        return ""
    words = ["recbench", "run", "-m", method_word(name, [one for one in values if not is_setting(one)])]
    words += ["-d", table.dataset]
    words += block_words(next((block.parts for block in table.blocks if block.name == row.block), {}))
    words += ["--protocol", str(table.protocol["name"])]
    words += [word for seed in row.seeds if seed is not None for word in ("--seed", str(seed))]
    words += [word for one in values if is_setting(one) for word in ("--set", one)]
    return shlex.join(words)


def recipe_of(label: str) -> tuple[str, list[str]]:
    """The method and the values of `ilrec[beta=0.2,train.epochs=3.0]`; else no method."""
    found = re.fullmatch(r"([\w.-]+)(?:\[([^\[\]]+)\])?", label)
    if found is None:
        return "", []
    values = found[2].split(",") if found[2] else []
    return (found[1], values) if all("=" in one for one in values) else ("", [])


def is_setting(value: str) -> bool:
    return value.startswith(SETTINGS)


def method_word(name: str, values: list[str]) -> str:
    return f"{name}:{','.join(values)}" if values else name


def block_words(parts: Mapping[str, str]) -> list[str]:
    """The flags that give a block: paradigm and backbone, and what else is not its default.

    Nothing for a method without a language model. How a fit trains is in its label, but for the regime.
    """
    if not parts:
        return []
    paradigm: Paradigm = params.coerce(parts["paradigm"], Paradigm, name="paradigm")
    backbone = without_digest(parts["backbone"])
    words = ["-p", paradigm, "-b", backbone]
    ranker, values = _typed(parts.get("ranker", ""))
    if ranker in RANKERS:
        changed = _changed(values, RANKERS[ranker]())
        if changed or ranker != DEFAULT_RANKER.get(paradigm):
            words += ["--ranker", method_word(ranker, changed)]
    elif OWNER in values:
        inside = values.get("parameters", "")
        words += ["--ranker", method_word(ranker, [inside] if inside else [])]
    source, values = _typed(without_digest(parts.get("identifiers", "")))
    values.pop(OWNER, None)
    if values:
        defaults = for_backbone(IDENTIFIER_DEFAULTS, backbone, {}).get(paradigm, {})
        usual = params.build(IDENTIFIERS[paradigm], defaults, what="identifiers")
        named = {"source": source} if source else {}
        words += [word for one in _changed(named | values, usual) for word in ("--set", f"identifiers.{one}")]
    if parts.get("prompt", "").startswith("chat"):
        words += ["--set", "prompt.chat_template=true"]
    return words + (["--regime", "equal-tokens"] if f"{BUDGET}=" in parts.get("training", "") else [])


def _typed(text: str) -> tuple[str, dict[str, str]]:
    """Name and values of `beam[batch=64,width=20]`; a list among them stands as it is typed, `256+128`."""
    name, _, inside = text.partition("[")
    found = re.findall(r"(\w+)=(\[[^\]]*\]|[^,\]]*)", inside)
    return name, {key: value.strip("[]").replace(", ", "+") for key, value in found}


def _changed(values: Mapping[str, str], usual: Any) -> list[str]:
    """`key=value` of what is not as in `usual`."""
    return [f"{key}={value}" for key, value in values.items() if value != str(getattr(usual, key, None))]
