"""SFT continued: the control without which more training would pass for a better objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import TrainingData
from recbench.llm import PREFERENCE_PRESETS, PREFERENCE_SPACE, LLMMethod
from recbench.method import LLMRun, Space

if TYPE_CHECKING:
    from recbench.llm import Policy


@dataclass
class SFTContinued(LLMMethod):
    """The parent trained further on SFT's own objective, for as many epochs as the preference methods train.

    A preference method that does not beat this row owes its gain to the longer training.
    """

    version: ClassVar[int] = 1
    starts_from: ClassVar[Literal["base", "parent"]] = "parent"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        name: {key: value for key, value in preset.items() if key != "train.max_rows"}
        for name, preset in PREFERENCE_PRESETS.items()
    }
    space: ClassVar[Space] = {
        "train.lr": PREFERENCE_SPACE["train.lr"],
        "train.epochs": {"pretrained": (1, 2, 3), "scratch": (1, 2, 4)},
    }

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm import TokenCrossEntropy, next_item, train

        rows = next_item(policy.prompts, data, run).rows
        train(policy, rows, TokenCrossEntropy(), settings=run.llm.train, run=run)
