"""SOFT: self-distilled data first, real data as the model catches up (arXiv 2505.20771)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import TrainingData
from recbench.llm.method import LLMMethod
from recbench.method import LLMRun, Space

if TYPE_CHECKING:
    from recbench.llm.model.policy import Policy


@dataclass(kw_only=True)
class SOFT(LLMMethod):
    """(1 - tau) SFT on the targets + tau SFT on the answers of the finished SFT model.

    tau = exp(alpha (d_t / d_0 - 1)) falls from epoch to epoch, with the distance d_t between what the model
    answers and what it should. `adaptive=false` is the paper's row without the scheduler: tau stays 1.
    """

    version: ClassVar[int] = 1
    uses_parent: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "pretrained": {"train.epochs": 7.0},
        "tiny": {"train.epochs": 4.0},
    }
    space: ClassVar[Space] = {
        "alpha": (0.1, 1.0, 10.0, 100.0),
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "tiny": (1e-3, 3e-3, 1e-2)},
    }

    alpha: float = 1.0
    """Speed of the schedule; the paper chooses among 0.1, 1, 10 and 100 by validation."""
    adaptive: bool = True
    init: Literal["base", "sft"] = "base"
    """Which weights training starts from; the paper does not say."""
    sample: int = 256
    """Training prompts on which the distance is measured, the same in every epoch."""

    def __post_init__(self) -> None:
        if self.alpha <= 0 or self.sample < 1:
            raise ValueError("alpha must be above 0 and sample at least 1")

    def start(self, data: TrainingData, run: LLMRun) -> Policy:
        from recbench.llm.model.policy import restore

        if self.init == "base":
            return super().start(data, run)
        return restore(data, run, workdir=run.needed_parent.workdir, train=True)

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm.decoding.answers import training_answers
        from recbench.llm.decoding.text_space import text_space
        from recbench.llm.model.policy import restore
        from recbench.llm.signals.distillation import Distillation, Schedule
        from recbench.llm.training.examples import next_item, with_rejected
        from recbench.llm.training.trainer import train

        examples = next_item(policy.prompts, data, run)
        teacher = restore(data, run, workdir=run.needed_parent.workdir)
        space = text_space(teacher, data, run)
        grounded = None if run.llm.paradigm == "semantic-id" else space
        answers = training_answers(teacher, examples, data, run, grounded, weights=run.needed_parent.id)
        del teacher
        run.report.log(answer_is_target_share=float((answers.items == examples.target).mean()))
        rows = with_rejected(policy.prompts, examples, [[response] for response in answers.responses])
        objective = Distillation()
        schedule = Schedule(self, objective, policy, examples, data, run, space)
        callbacks = [schedule] if self.adaptive else []
        train(policy, rows, objective, settings=run.llm.train, run=run, callbacks=callbacks)
