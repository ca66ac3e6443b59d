"""The settings of a language model as a JSON value, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbench.base import params
from recbench.settings import (
    IDENTIFIERS,
    ONE_TASK,
    RANKERS,
    LLMSettings,
    Paradigm,
    PromptSettings,
    Ranker,
    TrainSettings,
)


def ranker_record(ranker: Ranker) -> dict[str, Any]:
    name = next(name for name, cls in RANKERS.items() if type(ranker) is cls)
    return {"name": name, **params.resolved(ranker)}


def identity_of(train: TrainSettings) -> dict[str, Any]:
    """The train settings as the identity of a fit has them: a single task is not mentioned, because fits from
    before there was a choice do not mention it either."""
    record = params.resolved(train)
    return {key: value for key, value in record.items() if (key, value) != ("tasks", ONE_TASK)}


def llm_record(llm: LLMSettings) -> dict[str, Any]:
    return {
        "backbone": llm.backbone,
        "paradigm": llm.paradigm,
        "train": params.resolved(llm.train),
        "identifiers": params.resolved(llm.identifiers),
        "prompt": params.resolved(llm.prompt),
        "ranker": ranker_record(llm.ranker),
    }


def llm_of(record: Mapping[str, Any]) -> LLMSettings:
    """The inverse of `llm_record`."""
    paradigm: Paradigm = record["paradigm"]
    ranker = dict(record["ranker"])
    name = ranker.pop("name")
    return LLMSettings(
        backbone=record["backbone"],
        paradigm=paradigm,
        train=params.build(TrainSettings, record["train"], what="train"),
        identifiers=params.build(IDENTIFIERS[paradigm], record["identifiers"], what="identifiers"),
        prompt=params.build(PromptSettings, record["prompt"], what="prompt"),
        ranker=params.build(RANKERS[name], ranker, what=name),
    )
