"""SFT continued: the control without which more training would pass for a better objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import TrainingData
from recbench.llm import PREFERENCE_SPACE, LLMMethod
from recbench.method import LLMRun, Space

if TYPE_CHECKING:
    from recbench.llm import Policy


@dataclass
class SFTContinued(LLMMethod):
    """The parent trained further on SFT's own objective, for the rows and steps of a preference method.

    A preference method that does not beat this row owes its gain to the longer training. Under a budget of
    tokens it trains on all rows, and the budget decides the steps.
    """

    version: ClassVar[int] = 2
    starts_from: ClassVar[Literal["base", "parent"]] = "parent"
    control: ClassVar[bool] = True
    space: ClassVar[Space] = {
        "train.lr": PREFERENCE_SPACE["train.lr"],
        "train.epochs": {"pretrained": (1, 2, 3), "scratch": (1, 2, 4)},
    }

    as_: str = ""
    """`as=NAME`: the method whose rows, steps, learning rate and selection this one has; by default the
    preference method of recbench that trains most steps with the backbone and the protocol."""

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm import TokenCrossEntropy, next_item, train

        rows = next_item(policy.prompts, data, run).rows
        train(policy, rows, TokenCrossEntropy(), settings=run.llm.train, run=run)
