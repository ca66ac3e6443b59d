"""Zero-shot: the backbone as it is, the row that says what training adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.data import TrainingData
from recbench.llm import LLMMethod
from recbench.method import LLMRun

if TYPE_CHECKING:
    from recbench.llm import Policy


@dataclass
class ZeroShot(LLMMethod):
    """Ranks by the untouched backbone: same prompts, identifiers and ranker as the block, no training.

    In `title` it shows what the model knew of the items before. The codes of `semantic-id` are tokens whose
    rows nothing has trained, as are all weights of a backbone that is trained from scratch: there the row is
    the floor of the block.
    """

    version: ClassVar[int] = 1
    trains: ClassVar[bool] = False

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        """Never called: nothing is trained."""
