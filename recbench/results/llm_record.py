"""The settings of a language model as a JSON value, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from recbench.base import params
from recbench.settings import (
    IDENTIFIERS,
    ONE_TASK,
    RANKERS,
    LLMSettings,
    OutsideRanker,
    Paradigm,
    PromptSettings,
    Ranker,
    TrainSettings,
)

LATER = {"alpha": 0.0, "guidance": 1.0}
"""Settings of rankers as they are where they are not used; rankings from before they existed have none."""


def ranker_record(ranker: Ranker) -> dict[str, Any]:
    """Name and settings, without those of LATER that are not used."""
    if isinstance(ranker, OutsideRanker):
        return asdict(ranker)
    name = next(name for name, cls in RANKERS.items() if type(ranker) is cls)
    record = params.resolved(ranker)
    return {"name": name, **{key: value for key, value in record.items() if LATER.get(key) != value}}


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
    return LLMSettings(
        backbone=record["backbone"],
        paradigm=paradigm,
        train=params.build(TrainSettings, record["train"], what="train"),
        identifiers=params.build(IDENTIFIERS[paradigm], record["identifiers"], what="identifiers"),
        prompt=params.build(PromptSettings, record["prompt"], what="prompt"),
        ranker=ranker_of_record(record["ranker"]),
    )


def ranker_of_record(record: Mapping[str, Any]) -> Ranker:
    """The inverse of `ranker_record`."""
    name = record["name"]
    if name not in RANKERS:
        return OutsideRanker(**record)
    values = {key: value for key, value in record.items() if key != "name"}
    ranker: Ranker = params.build(RANKERS[name], values, what=name)
    return ranker
