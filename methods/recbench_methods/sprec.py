"""SPRec: self-play, where each round rejects what the model itself answers (arXiv 2412.09243)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import TrainingData
from recbench.llm.method import LLMMethod
from recbench.llm.pair_method import PREFERENCE_PRESETS, PREFERENCE_SPACE
from recbench.method import LLMRun, Space

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.model.policy import Policy
    from recbench.llm.signals.preference import PairBatch


@dataclass(kw_only=True)
class SPRec(LLMMethod):
    """Rounds of: answer the training prompts, one epoch of SFT, one epoch of DPO against the answers.

    The answers are those of the model before the round's SFT; policy and reference of its DPO start after it,
    as in the authors' code. Same template everywhere, and the whole training set in each round, as ILRec
    compares with it.
    """

    version: ClassVar[int] = 1
    starts_from: ClassVar[Literal["base", "parent"]] = "parent"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "pretrained": {"train.epochs": 1.0, "train.lr": 2e-5},
        "tiny": {**PREFERENCE_PRESETS["tiny"], "train.max_rows": 256},
    }
    space: ClassVar[Space] = {**PREFERENCE_SPACE, "iterations": (3, 5)}

    beta: float = 0.1
    iterations: int = 3

    def __post_init__(self) -> None:
        if self.beta < 0 or self.iterations < 1:
            raise ValueError("beta must not be negative and iterations at least 1")

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm.decoding.answers import training_answers
        from recbench.llm.decoding.text_space import text_space
        from recbench.llm.signals.preference import train_on_pairs
        from recbench.llm.training.examples import next_item
        from recbench.llm.training.likelihood import TokenCrossEntropy
        from recbench.llm.training.trainer import train

        share = 1 / (2 * self.iterations)
        examples = next_item(policy.prompts, data, run)
        space = None if run.llm.paradigm == "semantic-id" else text_space(policy, data, run)
        own = run.own_stages()
        for number in range(self.iterations):
            played = training_answers(
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
                played.items[:, None],
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
        from recbench.llm.training.losses import dpo

        return dpo(pairs.pi_w, pairs.pi_l[:, 0], pairs.ref_w, pairs.ref_l[:, 0], self.beta).loss
