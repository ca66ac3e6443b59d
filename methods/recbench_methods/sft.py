"""Supervised fine-tuning on the next item's identifier (BIGRec, LC-Rec; ILRec Eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.data import TrainingData
from recbench.llm.method import LLMMethod
from recbench.method import LLMRun, Space

if TYPE_CHECKING:
    from recbench.llm.model.policy import Policy


@dataclass
class SFT(LLMMethod):
    """Maximum likelihood of the target's identifier given the history; no negatives, no reference."""

    version: ClassVar[int] = 1
    space: ClassVar[Space] = {
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "tiny": (1e-3, 3e-3, 1e-2)},
        "train.epochs": {"pretrained": (3, 5, 7), "tiny": (2, 4, 8)},
        "train.weight_decay": (0.0, 0.01),
    }

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm.training.examples import next_item
        from recbench.llm.training.likelihood import TokenCrossEntropy
        from recbench.llm.training.trainer import train

        rows = next_item(policy.prompts, data, run).rows
        train(policy, rows, TokenCrossEntropy(), settings=run.llm.train, run=run)
