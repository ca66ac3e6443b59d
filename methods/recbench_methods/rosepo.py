"""RosePO: DPO on hard negatives with personalised smoothing (arXiv 2410.12519). A reconstruction.

No public code was found, and no other paper restates the loss. Verified are a pairwise objective of DPO's
kind, a smoothing factor that a preference oracle predicts for each pair, and three ways to choose the
rejected item. The rest is a reading, and each reading is a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from recbench.data import Ints, TrainingData
from recbench.llm import PairMethod
from recbench.method import LLMRun
from recbench.ranges import Count
from recbench.settings import LLMSettings

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import NextItem, PairBatch, Policy


@dataclass(kw_only=True)
class RosePO(PairMethod):
    """Smoothed DPO against the item that the parent itself would wrongly recommend (a reconstruction).

    L = -(1 - epsilon) log sigma(h) - epsilon log sigma(-h), with h = beta (rho_w - rho_l): DPO that takes a
    pair to be the wrong way round with probability epsilon. The paper's epsilon is personal: the chance, by a
    preference oracle, that the user prefers the rejected item.

    Other papers run RosePO as DPO against one item drawn by popularity, without smoothing (the code of
    Flower): `rosepo:negatives=popularity,smoothing=none`.
    """

    version: ClassVar[int] = 2

    negatives: Literal["self-hard", "similar", "popularity"] = "self-hard"
    """`self-hard`: the best item of the parent's beam that is neither the target nor in the history (ILRec's
    setting). `similar`: a neighbour of the last item by text. `popularity`: drawn by training count^0.75."""
    beam: Count = 10
    """Width of that beam."""
    form: Literal["conservative", "robust"] = "conservative"
    """How epsilon enters the loss. `robust` divides it out again: unbiased under flips, unbounded below."""
    smoothing: Literal["personal", "constant", "none"] = "personal"
    """`personal`: SASRec's preference for the rejected item, its temperature fitted on validation pairs with
    random items. `constant`: `epsilon` for every pair. `none`: 0, which is DPO."""
    epsilon: float = 0.1
    """The smoothing of every pair under `smoothing=constant`."""
    cap: float = 0.49
    """The most that a personal smoothing can be; 0.5 would take all preference from a pair."""

    _epsilon: Any = field(default=None, init=False, repr=False)  # [E], where it is personal

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.epsilon < 0.5 and 0 < self.cap < 0.5) or self.beam < 1:
            raise ValueError("epsilon and cap must be below 0.5, and beam at least 1")

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        """Adds the preference oracle, which decides a fit just as the backbone does."""
        return {**super().identity(llm), "oracle": cls.collaborative_identity()}

    def reject(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Ints:
        from recbench.llm import personal_smoothing

        rejected = self._items(policy, examples, data, run)
        if self.smoothing == "personal":
            self._epsilon = personal_smoothing(examples, rejected[:, 0], data, run, cap=self.cap)
        return rejected

    def _items(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Ints:
        from recbench.llm import (
            beam_items,
            popular_negatives,
            self_hard_negatives,
            similar_negatives,
            text_space,
        )

        if self.negatives == "popularity":
            return popular_negatives(examples, data, 1, run)
        if self.negatives == "similar":
            return similar_negatives(examples, text_space(policy, data, run).vectors, run)
        beams = beam_items(policy, examples, run, width=self.beam, weights=run.needed_parent.id)
        run.report.log(top_beam_is_target_share=float((beams[:, 0] == examples.target).mean()))
        return self_hard_negatives(beams, examples)

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import rosepo

        if self._epsilon is None:
            constant = self.epsilon if self.smoothing == "constant" else 0.0
            epsilon = pairs.pi_w.new_full(pairs.pi_w.shape, constant)
        else:
            epsilon = self._epsilon.to(pairs.pi_w)[pairs.example]
        return rosepo(
            pairs.pi_w, pairs.pi_l[:, 0], pairs.ref_w, pairs.ref_l[:, 0], self.beta, epsilon, self.form
        ).loss
