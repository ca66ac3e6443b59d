"""MSL: SFT over the tokens that can continue an identifier, not over the vocabulary (arXiv 2504.04178)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import TrainingData
from recbench.llm import LLMMethod
from recbench.method import LLMRun, Space
from recbench.ranges import Count, NotNegative, Positive, Share
from recbench.settings import ExactRanker

if TYPE_CHECKING:
    from recbench.llm import Policy

RANK_BY_CHILDREN = (
    "note: msl trains the tokens that continue an identifier alone, and this ranker may read others; "
    "try --ranker exact:normalise=children, here and for its rivals"
)


@dataclass(kw_only=True)
class MSL(LLMMethod):
    """SFT whose softmax has the children of a trie node alone, so that impossible tokens cost nothing.

    L = -tau mean_t log softmax over C(v_t) of z_t[y_t] / tau, over the positions with more than one child.
    The tokens that no item has are never trained, so rank with the same softmax, whose temperature the fit
    brings with it: `--ranker exact:normalise=children`, for this method and for its rivals.

    `adaptive=true` moves tau so that a first token's target has the probability `eta` (its ATS). With `bear`
    above 0 it is BEAR (WWW 2026): more weight on targets above the width-th best child.
    """

    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"soft": {"train.epochs": 7.0}}
    """`soft`: as many epochs as the SOFT paper gives SFT, whose place this method takes."""
    trains_vocabulary: ClassVar[bool] = False
    space: ClassVar[Space] = {
        "tau": (1.0, 1.5, 3.0, 4.5),
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "scratch": (1e-3, 3e-3, 1e-2)},
        "train.epochs": {"pretrained": (3, 5, 7), "scratch": (2, 4, 8)},
    }
    """tau as in the paper's figure; the others as for `sft`, whose place this method takes. Not yet tuned."""

    tau: Positive = 1.0
    """Temperature of the softmax, in training and in ranking; the authors' later advice."""
    adaptive: bool = False
    """Whether tau follows the logits, from 1.5 on and within 1.5 to 5."""
    eta: Share = 0.25
    """The probability that an adaptive tau aims at."""
    over: Literal["choices", "tokens", "examples"] = "choices"
    """What the loss is a mean of: positions with a choice, all positions, or responses, each a sum."""
    bear: NotNegative = 0.0
    """BEAR's lambda, 0.25 in its code; 0 is MSL."""
    bear_scale: Positive = 2.75
    """BEAR's xi, in nats."""
    bear_width: Count = 10
    """The place among the children that a target should keep: the beam's width."""

    def __post_init__(self) -> None:
        if self.adaptive:
            if self.tau not in (1.0, 1.5):
                raise ValueError("adaptive=true finds tau itself, from 1.5 on: leave tau out")
            self.tau = 1.5
        if self.bear and (self.tau != 1 or self.over != "choices"):
            raise ValueError("bear goes with tau=1, adaptive=false and over=choices")

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm import AdaptiveTemperature, EdgeScores, TrieCrossEntropy, next_item, train

        if not (isinstance(run.llm.ranker, ExactRanker) and run.llm.ranker.normalise == "children"):
            run.report.log(message=RANK_BY_CHILDREN)
        objective = TrieCrossEntropy(
            policy.trie,
            run.device,
            tau=self.tau,
            over=self.over,
            bear=self.bear,
            bear_scale=self.bear_scale,
            bear_width=self.bear_width,
        )
        policy.edges = EdgeScores(tau=self.tau)
        following = AdaptiveTemperature(objective, policy, run, eta=self.eta) if self.adaptive else None
        rows = next_item(policy.prompts, data, run).rows
        callbacks = [] if following is None else [following]
        train(policy, rows, objective, settings=run.llm.train, run=run, callbacks=callbacks)
        if following is not None:
            selected = policy.selected.get("training")
            following.keep(None if selected is None else selected.kept)
