"""Small made-up data and runs."""

from __future__ import annotations

from pathlib import Path
from typing import overload

import numpy as np

from recbench.base import params
from recbench.data import Catalogue, Examples, Ragged, Requests, TrainingData
from recbench.method import LLMRun, RunContext
from recbench.settings import (
    DEFAULT_RANKER,
    IDENTIFIER_DEFAULTS,
    IDENTIFIERS,
    RANKERS,
    TRAIN_DEFAULTS,
    LLMSettings,
    Paradigm,
    TrainSettings,
    for_backbone,
)
from recbench.stages import StageCache

ADJECTIVES = ("red", "green", "blue", "old", "new", "small", "large", "quiet")
NOUNS = ("lamp", "chair", "kettle", "violin", "rope", "clock", "map", "boat", "coat", "drum")


def toy_data(*, num_users: int = 40, num_items: int = 30, longest: int = 30, seed: int = 0) -> TrainingData:
    """Users who mostly walk the catalogue in order: item i is followed by i + 1 with probability 0.9."""
    rng = np.random.default_rng(seed)
    sequences = []
    for _ in range(num_users):
        items = [int(rng.integers(num_items))]
        while len(items) < rng.integers(5, longest + 1):
            step = 1 if rng.random() < 0.9 else int(rng.integers(num_items))
            items.append((items[-1] + step) % num_items)
        sequences.append(items)
    train = Ragged.of([items[:-1] for items in sequences])
    return TrainingData(
        catalogue=Catalogue(
            item_ids=tuple(str(item) for item in range(num_items)),
            titles=tuple(f"{ADJECTIVES[i % 8]} {NOUNS[i % 10]} {i}" for i in range(num_items)),
            categories=tuple(NOUNS[i % 10] for i in range(num_items)),
            popularity=np.bincount(train.values, minlength=num_items),
        ),
        sequences=train,
        valid=Examples(
            requests=Requests(user=np.arange(num_users), history=train.last(20)),
            target=np.array([items[-1] for items in sequences]),
        ),
        history=20,
        digests=dict.fromkeys(("split", "catalogue"), f"toy-{num_users}-{num_items}-{longest}-{seed}"),
    )


@overload
def toy_run(workdir: Path, *, seed: int = 0, llm: LLMSettings) -> LLMRun: ...


@overload
def toy_run(workdir: Path, *, seed: int = 0, llm: LLMSettings | None = None) -> RunContext: ...


def toy_run(workdir: Path, *, seed: int = 0, llm: LLMSettings | None = None) -> RunContext:
    """A run on one CPU thread whose stages are beside `workdir`; with `llm`, the run of an LLM method."""
    workdir.mkdir(parents=True, exist_ok=True)
    run = RunContext(seed=seed, workdir=workdir, stages=StageCache(workdir.parent / "stages"), threads=1)
    return run if llm is None else run.with_llm(llm)


def tiny_settings(
    *, backbone: str = "tiny", paradigm: Paradigm = "semantic-id", **train: object
) -> LLMSettings:
    """LLM settings of the backbone `tiny` with eight codes a level, the paradigm's default ranker, and
    `train` over the training defaults."""
    identifiers = {**for_backbone(IDENTIFIER_DEFAULTS, "tiny", {}).get(paradigm, {})}
    if paradigm == "semantic-id":
        identifiers["codes"] = 8
    return LLMSettings(
        backbone=backbone,
        paradigm=paradigm,
        train=params.build(
            TrainSettings, {**for_backbone(TRAIN_DEFAULTS, "tiny", {}), **train}, what="train"
        ),
        identifiers=params.build(IDENTIFIERS[paradigm], identifiers, what="identifiers"),
        ranker=RANKERS[DEFAULT_RANKER[paradigm]](),
    )
