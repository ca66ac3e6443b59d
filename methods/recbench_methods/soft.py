"""SOFT: learn self-distilled data first, and real data as the model catches up (arXiv 2505.20771)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import TrainingData
from recbench.llm import LLMMethod
from recbench.method import LLMRun, Space
from recbench.ranges import Count, Positive

if TYPE_CHECKING:
    from recbench.llm import Policy


@dataclass(kw_only=True)
class SOFT(LLMMethod):
    """SFT on the targets and on the answers of the finished SFT model, mixed by a schedule.

    L = (1 - tau) L_SFT(targets) + tau L_SFT(answers), with tau = exp(alpha (d_t / d_0 - 1)) (section 3.2).
    d_t is the mean distance, before epoch t, between the model's answers and the targets: between the vectors
    of their texts on a pretrained backbone, and of the items by their interactions on one trained from
    scratch, where texts tell no answer from any other item.

    `adaptive=false` is the paper's row without the scheduler: tau stays 1.
    """

    version: ClassVar[int] = 2
    uses_parent: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "soft": {"train.epochs": 7.0},  # the paper's most epochs, for SFT as for SOFT
        "pretrained": {"train.epochs": 7.0, "train.lr": 1e-4},
        "soft+pretrained": {"train.batch": 256},
        "soft+pretrained+soft-movie": {"train.batch": 128},
    }
    """The paper's most epochs and its learning rate."""
    space: ClassVar[Space] = {
        "alpha": (0.1, 1.0, 10.0, 100.0),
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "scratch": (1e-3, 3e-3, 1e-2)},
    }
    """alpha: the paper's grid."""

    alpha: Positive = 1.0
    """Speed of the schedule; the paper chooses among 0.1, 1, 10 and 100 on validation."""
    adaptive: bool = True
    """Whether tau follows the distance."""
    init: Literal["base", "sft"] = "base"
    """The weights that training starts from; the paper does not say which."""
    sample: Count = 256
    """Training prompts on which the distance is measured, the same in every epoch."""

    def start(self, data: TrainingData, run: LLMRun) -> Policy:
        from recbench.llm import restore_policy

        if self.init == "base":
            return super().start(data, run)
        return restore_policy(data, run, workdir=run.needed_parent.workdir, train=True)

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm import (
            Distillation,
            DistillationSchedule,
            next_item,
            restore_policy,
            text_space,
            train,
            training_answers,
            with_rejected,
        )

        examples = next_item(policy.prompts, data, run)
        teacher = restore_policy(data, run, workdir=run.needed_parent.workdir)
        space = text_space(teacher, data, run)
        grounded = None if run.llm.paradigm == "semantic-id" else space
        answers = training_answers(teacher, examples, data, run, grounded, weights=run.needed_parent.id)
        del teacher  # training does not need its weights
        run.report.log(answer_is_target_share=float((answers.items == examples.target).mean()))
        rows = with_rejected(policy.prompts, examples, [[response] for response in answers.responses])
        objective = Distillation()
        schedule = DistillationSchedule(self, objective, policy, examples, data, run, space)
        callbacks = [schedule] if self.adaptive else []
        train(policy, rows, objective, settings=run.llm.train, run=run, callbacks=callbacks)
