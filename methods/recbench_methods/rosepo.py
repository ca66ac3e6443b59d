"""RosePO: DPO on hard negatives with personalised smoothing (arXiv 2410.12519). A reconstruction.

No public code was found, and no other paper restates the loss. Verified are a pairwise objective of DPO's
kind, a smoothing factor that a preference oracle predicts for each pair, and three ways to choose the
rejected item. The rest is a reading, and each reading is a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from recbench.data import Ints
from recbench.llm import PREFERENCE_PRESETS, PairMethod
from recbench.settings import LLMSettings

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import Draw, PairBatch


@dataclass(kw_only=True)
class RosePO(PairMethod):
    """Smoothed DPO against an item that is hard to tell from the target (a reconstruction).

    L = -(1 - epsilon) log sigma(h) - epsilon log sigma(-h), with h = beta (rho_w - rho_l): DPO that takes a
    pair to be the wrong way round with probability epsilon. The paper's epsilon is personal: the chance, by a
    preference oracle, that the user prefers the rejected item.

    The paper's three ways to choose a rejected item are `negatives=similar`, `popularity` and `self-hard`,
    which ILRec's comparison has (`preset=ilrec`). With a self-hard item SASRec disagrees about most pairs, so
    that their epsilon is at the cap and nothing is learned: the default is `similar` (docs/papers.md has the
    trials). Other papers run RosePO as DPO against one item drawn by popularity, without smoothing (the code
    of Flower): `rosepo:negatives=popularity:power=1,smoothing=none`.
    """

    version: ClassVar[int] = 3
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        **PREFERENCE_PRESETS,
        "preset=ilrec": {"negatives": "self-hard", "num_negatives": 1},
    }
    """The preference stage of S-DPO; `preset=ilrec`: the rejected item of ILRec's comparison."""

    negatives: str = "similar"
    """Where rejected items come from: `similar`, or any other sampler (docs/negatives.md)."""
    form: Literal["conservative", "robust"] = "conservative"
    """How epsilon enters the loss. `robust` divides it out again: unbiased under flips, unbounded below."""
    smoothing: Literal["personal", "constant", "none"] = "personal"
    """`personal`: SASRec's preference for the rejected item, its temperature fitted on validation pairs with
    random items. `constant`: `epsilon` for every pair. `none`: 0, which is DPO."""
    epsilon: float = 0.1
    """The smoothing of every pair under `smoothing=constant`."""
    cap: float = 0.49
    """The most that a personal smoothing can be; 0.5 would take all preference from a pair."""

    _personal: Any = field(default=None, init=False, repr=False)  # PersonalSmoothing, where it is personal

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.epsilon < 0.5 and 0 < self.cap < 0.5):
            raise ValueError("epsilon and cap must be below 0.5")

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        """Adds the preference oracle, which decides a fit just as the backbone does."""
        return {**super().identity(llm), "oracle": cls.collaborative_identity()}

    def reject(self, ask: Draw) -> Ints:
        from recbench.llm import personal_smoothing

        rejected = super().reject(ask)
        if self.smoothing == "personal" and self._personal is None:
            self._personal = personal_smoothing(ask.examples, rejected, ask.data, ask.run, cap=self.cap)
        return rejected

    def loss(self, pairs: PairBatch) -> Tensor:
        from recbench.llm import smoothed_dpo

        epsilon: float | Tensor = self.epsilon if self.smoothing == "constant" else 0.0
        if self._personal is not None:
            epsilon = self._personal(pairs.example, pairs.rejected)
        return smoothed_dpo(pairs, self.beta, epsilon, self.form)
