"""SPRec: self-play, in which each round rejects the model's own answers (arXiv 2412.09243)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import TrainingData
from recbench.llm import PREFERENCE_PRESETS, PREFERENCE_SPACE, LLMMethod
from recbench.method import LLMRun, Space
from recbench.ranges import Count, NotNegative

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import PairBatch, Policy


@dataclass(kw_only=True)
class SPRec(LLMMethod):
    """Rounds of: answer the training prompts, an epoch of SFT, an epoch of DPO against the answers.

    L_DPO = -log sigma(beta (rho_w - rho_l)), with the target as w and the model's answer as l.

    As in the authors' code, the model answers before a round's SFT, and policy and reference of the round's
    DPO are the model after it. As in ILRec's comparison, all stages share one template, and each round has
    the whole training set. `preset=official` has the code's five rounds of 2,048 rows, the same in each.
    """

    version: ClassVar[int] = 1
    starts_from: ClassVar[Literal["base", "parent"]] = "parent"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "pretrained": {
            "train.epochs": 1.0,
            "train.lr": 2e-5,
            "train.batch": 16,
            "train.schedule": "linear",
            "train.warmup": 0.03,
            "train.weight_decay": 0.0,
        },
        "official": {"iterations": 5},
        "official+pretrained": {"train.max_rows": 2048, "train.warmup": 0.15625},  # 20 of 128 steps
        "ilrec": {"iterations": 3},
        "scratch": {**PREFERENCE_PRESETS["scratch"], "train.max_rows": 256},
    }
    """`official` and `pretrained`: the authors' code; `ilrec`: the rounds of ILRec's comparison; `scratch`
    was chosen on validation NDCG@10 of ml-100k."""
    space: ClassVar[Space] = {**PREFERENCE_SPACE, "iterations": (3, 5)}

    beta: NotNegative = 0.1
    """Scale of the log-ratios in DPO, 1/nat."""
    iterations: Count = 3
    """Rounds."""
    stages: int = field(default=6, init=False, repr=False)

    def __post_init__(self) -> None:
        self.stages = 2 * self.iterations

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm import (
            TokenCrossEntropy,
            next_item,
            text_space,
            train,
            train_on_pairs,
            training_answers,
        )

        share = 1 / (2 * self.iterations)  # of a budget of tokens, for each of the stages
        examples = next_item(policy.prompts, data, run)
        space = None if run.llm.paradigm == "semantic-id" else text_space(policy, data, run)
        own = run.own_stages()  # from the second round on, no other fit has these weights
        for number in range(self.iterations):
            answers = training_answers(
                policy,
                examples,
                data,
                run,
                space,
                weights=run.needed_parent.id if number == 0 else f"round {number}",
                stages=run.stages if number == 0 else own,
            )
            sft, objective = f"sft-{number}", TokenCrossEntropy()
            train(policy, examples.rows, objective, settings=run.llm.train, run=run, stage=sft, share=share)
            train_on_pairs(
                policy,
                examples,
                answers.items[:, None],
                self.loss,
                data=data,
                run=run,
                stage=f"dpo-{number}",
                share=share,
                weights=sft,
                stages=own,
            )
        for counts in own.counts.values():
            run.report.count(**counts)

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import dpo

        return dpo(pairs.pi_w, pairs.pi_l[:, 0], pairs.ref_w, pairs.ref_l[:, 0], self.beta).loss
