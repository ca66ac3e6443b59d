"""SFT: supervised fine-tuning on the next item's identifier (BIGRec, LC-Rec; ILRec Eq. 1).

By paradigm: `title` is BIGRec (arXiv 2308.08434), `semantic-id` LC-Rec (https://github.com/RUCAIBox/LC-Rec),
`hybrid` LLaRA (https://github.com/ljy0ustc/LLaRA).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.data import TrainingData
from recbench.llm import LLMMethod
from recbench.method import LLMRun, Space

if TYPE_CHECKING:
    from recbench.llm import Policy


@dataclass
class SFT(LLMMethod):
    """Maximum likelihood of the target's identifier given the history; no negatives, no reference.

    L = -mean_n log pi(y_n | x, y_<n), over all tokens of the responses, end token included.

    Every method that starts from a parent starts from this one. `train.tasks=lc-rec` adds LC-Rec's other
    tasks, each with the same loss.
    """

    version: ClassVar[int] = 1
    tasks: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "soft": {"train.epochs": 7.0},  # the SOFT paper's most epochs, for SFT as for SOFT
        # its rate and batch for every method, LLaRA's too
        "soft+pretrained": {"train.lr": 1e-4, "train.batch": 256},
        "soft+pretrained+soft-movie": {"train.batch": 128},
        "official+pretrained+title": {"train.epochs": 50.0},
        "official+pretrained+semantic-id": {
            "train.epochs": 4.0,
            "train.lora_rank": 0,
            "train.lr": 5e-5,
            "train.tasks": "lc-rec",
        },
        "official+pretrained+hybrid": {"train.epochs": 5.0, "train.lr": 7e-4},
    }
    """`soft`: the SOFT paper's most epochs, for SFT as for SOFT, and its learning rate; `official`: the code
    of BIGRec (title), LC-Rec (semantic-id) and LLaRA (hybrid)."""
    space: ClassVar[Space] = {
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "scratch": (1e-3, 3e-3, 1e-2)},
        "train.epochs": {"pretrained": (3, 5, 7), "scratch": (2, 4, 8)},
        "train.weight_decay": (0.0, 0.01),
    }
    """Around the official values, and around those chosen on validation for models trained from scratch."""

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm import TokenCrossEntropy, train, training_rows

        made = training_rows(policy, data, run)
        policy.tasks = made.tasks
        train(policy, made.rows, TokenCrossEntropy(), settings=run.llm.train, run=run)
