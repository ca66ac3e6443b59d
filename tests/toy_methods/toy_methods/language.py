"""A method that claims a language model, so that the engine's settings reach it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.data import Requests, TrainingData
from recbench.method import LLMRun, RunContext
from recbench.ranking import Ranking
from recbench.settings import LLMSettings
from toy_methods.base import Base


@dataclass(kw_only=True)
class Speaker(Base):
    """Scores items by their number times the epochs; certifies three of four requests."""

    kind: ClassVar[Literal["scorer", "llm"]] = "llm"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"tiny": {"train.epochs": 2.0}}
    temperature: float = 1.0

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        del llm
        return {"engine": 1, "prompt": "p" * 64, "backbone_digest": "b" * 64}

    @classmethod
    def fetch(cls, llm: LLMSettings) -> None: ...

    def scores(self, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
        assert isinstance(run, LLMRun)
        facts = {"identifiers": "i", "num_parameters": {"all": 11, "trainable": 3}}
        (run.workdir / "facts.json").write_text(json.dumps(facts))
        return np.arange(data.num_items, dtype=np.float64) * run.llm.train.epochs

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        plain = super().rank(requests, k=k)
        certified = np.arange(len(requests)) % 4 > 0
        return Ranking(items=plain.items, certified=certified, stats={"nodes_per_user": 5.0})
