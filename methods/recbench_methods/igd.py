"""IGD: token weights from how much a token decides among items (NeurIPS 2025, code ZJLin2oo1/LLM4Rec-IGD)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Interval

from recbench.data import TrainingData
from recbench.errors import UsageError
from recbench.llm import LLMMethod
from recbench.method import LLMRun, Space
from recbench.ranges import NotNegative
from recbench.settings import ExactRanker

if TYPE_CHECKING:
    from recbench.llm import Policy


@dataclass(kw_only=True)
class IGD(LLMMethod):
    """SFT that gives less weight to tokens that decide nothing, and a ranking that favours those that do.

    Tuning: cross-entropy with the weight `beta` where no other continuation leads to a training target, 1
    elsewhere. Decoding: a token's log-probability is multiplied by 1 - alpha g, g its information gain among
    its siblings, scaled to 0..1; scores stay below 0, so that exact search stays certified.

    `alpha=0` is tuning alone, `beta=1` decoding alone, both together SFT.
    """

    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"soft": {"train.epochs": 7.0}}
    """`soft`: as many epochs as the SOFT paper gives SFT, whose place this method takes."""
    space: ClassVar[Space] = {
        "beta": (0.08, 0.1, 0.2, 0.3, 0.5),
        "alpha": (0.0, 0.1, 0.2),
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "scratch": (1e-3, 3e-3, 1e-2)},
    }
    """The grids of the code, thinned; the learning rates of `sft`. Not yet tuned."""

    beta: NotNegative = 0.1
    """Weight of a token that decides nothing."""
    alpha: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Strength of the decoding; the README has 0.2, the script 0.1."""

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm import (
            EdgeScores,
            WeightedCrossEntropy,
            decides,
            decoding_factors,
            next_item,
            train,
        )

        ranker = run.llm.ranker
        if self.alpha and isinstance(ranker, ExactRanker) and ranker.alpha:
            raise UsageError(
                f"igd:alpha={self.alpha:g} and the ranker's alpha={ranker.alpha:g} would be multiplied",
                fix="--ranker exact, or igd:alpha=0",
            )
        examples = next_item(policy.prompts, data, run)
        counts = np.bincount(examples.target, minlength=data.num_items)
        if self.alpha:
            policy.edges = EdgeScores(factor=decoding_factors(policy.trie, counts, self.alpha))
        weight = np.where(decides(policy.trie, counts), 1.0, self.beta)
        objective = WeightedCrossEntropy(policy.trie, run.device, weight)
        train(policy, examples.rows, objective, settings=run.llm.train, run=run)
