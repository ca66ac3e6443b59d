"""The bases of pair methods: a pair method chooses its rejected items and gives a loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.base.extensions.extension import head
from recbench.base.extensions.points import Kind
from recbench.data import Ints, TrainingData
from recbench.errors import UsageError
from recbench.llm.method import LLMMethod
from recbench.llm.signals.samplers import (
    SAMPLERS,
    Draw,
    Sampler,
    check_pool,
    drawn,
    nothing_to_reject,
    sampler_of,
    text_of,
)
from recbench.method import LLMRun, Space
from recbench.ranges import Count, NotNegative

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.losses.pairs import PairBatch
    from recbench.llm.model.policy import Policy

PREFERENCE_PRESETS: Mapping[str, Mapping[str, object]] = {
    "pretrained": {
        "train.epochs": 3.0,
        "train.lr": 1e-5,
        "train.warmup": 0.05,
        "train.schedule": "cosine",
        "train.weight_decay": 0.0,
        "train.max_grad_norm": 0.3,
    },
    "ilrec+pretrained": {"train.lr": 1e-5},
    "soft+pretrained": {"train.lr": 1e-4, "train.batch": 256},
    "soft+pretrained+soft-movie": {"train.batch": 128},
    # chosen on validation NDCG@10 of ml-100k; trials in benchmarks/tuning/sdpo-ml-100k.jsonl
    "scratch": {"train.epochs": 1.0, "train.lr": 1e-5, "train.max_rows": 1024},
}
"""The preference stage of the code of S-DPO, the SOFT paper's learning rate, and what a model trained from
scratch takes. Preset `ilrec` is there to be asked for under another protocol."""
PREFERENCE_SPACE: Space = {
    "beta": (0.1, 0.5, 1.0),
    "train.lr": {"pretrained": (5e-6, 1e-5, 2e-5, 1e-4), "scratch": (1e-5, 3e-5, 1e-4, 3e-4)},
}
"""Learning rates: 1e-5 is S-DPO's, 2e-5 SPRec's, 1e-4 the SOFT paper's for every method."""


@dataclass(kw_only=True)
class PairMethod(LLMMethod):
    """A preference loss over pairs of a chosen and rejected items; the SFT parent is start and reference.

    `negatives` names the sampler, `loss` is the objective: any loss goes with any sampler. A class whose loss
    reads no reference says `needs_reference = False`, and none is computed.
    """

    starts_from: ClassVar[Literal["base", "parent"]] = "parent"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = PREFERENCE_PRESETS
    """The preference stage of the code of S-DPO; `soft` has the learning rate and the batch of the SOFT
    paper; `scratch` was chosen on validation NDCG@10 of ml-100k."""
    space: ClassVar[Space] = PREFERENCE_SPACE
    needs_reference: ClassVar[bool] = True
    extensions: ClassVar[Mapping[str, Kind]] = {"negatives": "sampler"}

    negatives: str = "uniform"
    """Where rejected items come from: uniform, popularity, in-batch, similar, sasrec-hard, self-hard,
    self-topk, self-play, or one of another package (`recbench list samplers`), with parameters as in
    `self-topk:pool=50:temperature=0.5` (docs/negatives.md)."""
    num_negatives: Count = 1
    """Rejected items of an example; fewer where the sampler finds no more."""
    beta: NotNegative = 0.1
    """Scale of the log-ratios in the loss, 1/nat."""
    sft_weight: NotNegative = 0.0
    """Weight of an added cross-entropy of the chosen responses; 0 in all the papers."""

    def __post_init__(self) -> None:
        if self.beta < 0 or self.sft_weight < 0 or self.num_negatives < 1:
            raise ValueError("beta and sft_weight must not be negative, num_negatives must be at least 1")
        sampler = sampler_of(self.negatives)
        self.negatives = text_of(sampler, "" if type(sampler) in SAMPLERS.values() else head(self.negatives))
        check_pool(sampler, self.num_negatives, self.negatives)
        if self.starts_from == "base":
            self._refuse_base(sampler)

    def _refuse_base(self, sampler: Sampler) -> None:
        if self.needs_reference:
            raise UsageError(
                f"{type(self).__name__} reads a reference and starts from the base model",
                why="the reference of a pair loss is the parent from which training starts",
                fix='starts_from = "parent", or needs_reference = False, in its class',
            )
        if sampler.asks_policy:
            raise UsageError(
                f"negatives={self.negatives} asks a trained model, and {type(self).__name__} starts from one "
                "that is not",
                fix="negatives=uniform, popularity, in-batch, similar or sasrec-hard",
            )

    @property
    def unrelated(self) -> bool:
        """Whether the loss reads responses of other prompts, as KTO does."""
        return False

    def reject(self, ask: Draw) -> Ints:
        """[E, K] the rejected items of each example, -1 where there is none. Called before the training of a
        round, for each of its epochs if the sampler draws them anew."""
        return drawn(self.negatives, ask)

    @abstractmethod
    def loss(self, pairs: PairBatch) -> Tensor:
        """The mean loss over the B examples of a batch, a scalar."""

    def try_loss(self) -> list[tuple[int, float, float]]:
        """The loss of drawn batches and of their examples, for `recbench method check`."""
        from recbench.llm.losses.pair_contract import at_once_and_alone

        return at_once_and_alone(self.loss, reference=self.needs_reference)

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm.signals.pair_rows import without_targets
        from recbench.llm.signals.preference import train_on_pairs
        from recbench.llm.training.examples import next_item

        examples = next_item(policy.prompts, data, run)
        sampler, own = sampler_of(self.negatives), run.own_stages()
        parent = "" if run.parent is None else run.parent.id
        rounds = sampler.rounds
        settings = replace(run.llm.train, epochs=run.llm.train.epochs / rounds)
        for number in range(rounds):
            first = number == 0
            ask = Draw(
                policy=policy,
                examples=examples,
                data=data,
                run=run,
                count=self.num_negatives,
                weights=parent if first else f"round {number}",
                stages=run.stages if first else own,
            )
            rejected = self.reject(ask)
            if not (without_targets(policy, examples, rejected) >= 0).any():
                raise nothing_to_reject(self.negatives, len(examples))
            train_on_pairs(
                policy,
                examples,
                rejected,
                self.loss,
                data=data,
                run=run,
                sft_weight=self.sft_weight,
                needs_reference=self.needs_reference,
                unrelated=self.unrelated,
                redraw=partial(self._redraw, ask) if sampler.resample else None,
                settings=settings,
                stage="training" if rounds == 1 else f"round-{number}",
                share=1 / rounds,
                weights=ask.weights,
                stages=ask.stages,
            )
        for counts in own.counts.values():
            run.report.count(**counts)

    def _redraw(self, ask: Draw, epoch: int) -> Ints:
        return self.reject(replace(ask, epoch=epoch))
