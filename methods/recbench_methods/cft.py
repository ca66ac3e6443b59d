"""CFT: counterfactual fine-tuning, SFT that also trains what the history adds (arXiv 2410.22809)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.data import TrainingData
from recbench.llm import LLMMethod
from recbench.method import LLMRun, Space
from recbench.ranges import NotNegative, Share

if TYPE_CHECKING:
    from recbench.llm import Policy


@dataclass(kw_only=True)
class CFT(LLMMethod):
    """SFT plus the same loss on the difference that the history makes to the logits.

    L = CE(z_h) + alpha CE(z_h - z_0), with z_0 the logits after the prompt without its history. The weight of
    a token falls from 1 at the first to beta at the last of a response.

    Every response is read twice, so that a fit costs about twice SFT's tokens. `alpha=0` is the paper's row
    with the position weights alone.
    """

    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"soft": {"train.epochs": 7.0}}
    """`soft`: as many epochs as the SOFT paper gives SFT, whose place this method takes."""
    space: ClassVar[Space] = {
        "alpha": (0.02, 0.05, 0.1, 0.2),
        "beta": (0.16, 0.25, 0.5, 0.9),
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "scratch": (1e-3, 3e-3, 1e-2)},
    }
    """The grids of the code, thinned; the learning rates of `sft`. Not yet tuned."""

    alpha: NotNegative = 0.1
    """Weight of the loss on the difference."""
    beta: Share = 0.25
    """Weight of a response's last token."""

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm import CounterfactualLoss, next_item, train, with_empty_prompts

        rows = with_empty_prompts(policy.prompts, next_item(policy.prompts, data, run))
        objective = CounterfactualLoss(alpha=self.alpha, beta=self.beta)
        train(policy, rows, objective, settings=run.llm.train, run=run)
