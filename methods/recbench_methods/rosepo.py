"""RosePO: DPO on hard negatives with personalised smoothing (arXiv 2410.12519). A reconstruction.

No public code was found, and the loss is not restated outside the paper. What is verified: a pairwise
objective of DPO's kind, a smoothing factor that a preference oracle predicts for each pair, and three ways to
choose the rejected item. The rest is the reading that each parameter names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from recbench.data import Ints, TrainingData
from recbench.llm.method import LLMSettings
from recbench.llm.pair_method import PairMethod
from recbench.method import LLMRun

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.model.policy import Policy
    from recbench.llm.signals.preference import PairBatch
    from recbench.llm.training.examples import NextItem


@dataclass(kw_only=True)
class RosePO(PairMethod):
    """Smoothed DPO against the item that the parent itself would wrongly recommend (a reconstruction)."""

    version: ClassVar[int] = 1

    negatives: Literal["self-hard", "similar", "popularity"] = "self-hard"
    """`self-hard`: the parent's best answer of a beam that is neither target nor in the history (ILRec's
    setting). `similar`: a neighbour of the last item by text. `popularity`: drawn by training count^0.75."""
    beam: int = 10
    form: Literal["conservative", "robust"] = "conservative"
    """How smoothing enters the loss."""
    smoothing: float = -1.0
    """The same epsilon for every pair; below 0 it is personal: the chance, by SASRec, that the user prefers
    the rejected item, its temperature fitted on validation pairs. 0 is DPO."""

    _epsilon: Any = field(default=None, init=False, repr=False)  # [E]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smoothing >= 0.5 or self.beam < 1:
            raise ValueError("smoothing must be below 0.5 and beam at least 1")

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        """Adds the preference oracle."""
        return {**super().identity(llm), "oracle": cls.collaborative_identity()}

    def reject(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Ints:
        from recbench.llm.signals.smoothing import personal_smoothing

        rejected = self._items(policy, examples, data, run)
        if self.smoothing < 0:
            self._epsilon = personal_smoothing(examples, rejected[:, 0], data, run)
        return rejected

    def _items(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Ints:
        from recbench.llm.decoding.text_space import text_space
        from recbench.llm.signals import negatives

        if self.negatives == "popularity":
            return negatives.popular(examples, data, 1, run)
        if self.negatives == "similar":
            return negatives.similar(examples, text_space(policy, data, run).vectors, run)
        beams = negatives.beam_items(policy, examples, run, width=self.beam, weights=run.needed_parent.id)
        first = float((beams[:, 0] == examples.target).mean())
        run.report.log(top_beam_is_target_share=first)
        return negatives.self_hard(beams, examples)

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm.training.losses import rosepo

        if self._epsilon is None:
            epsilon = pairs.pi_w.new_full(pairs.pi_w.shape, self.smoothing)
        else:
            epsilon = self._epsilon.to(pairs.pi_w)[pairs.example]
        return rosepo(
            pairs.pi_w, pairs.pi_l[:, 0], pairs.ref_w, pairs.ref_l[:, 0], self.beta, epsilon, self.form
        ).loss
