"""ReRe: reinforce the target among the policy's own best answers (arXiv 2510.12211, 2510.24431)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from recbench.data import TrainingData
from recbench.errors import UsageError
from recbench.llm import ON_POLICY_PRESETS, OnPolicyMethod
from recbench.method import LLMRun
from recbench.ranges import Count, NotNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import NextItem, Policy, ResponseGroups, Reward


@dataclass(kw_only=True)
class ReRe(OnPolicyMethod):
    """Each prompt's best answers, the target rewarded, and the others penalised the more the higher they are.

    L = -mean of r A - beta KL(policy || parent), A the rewards of a group less their mean over their
    deviation. Rewards: 1 for the target; for another answer in place g of a group with the target
    -d_g / sum_j d_j, d_g = 1 / log2(g + 2); all 0 in a group without it, which has no gradient but beta's.

    The certified best answers are their prompt's group, so a group has the target where it is ranked among
    the first `group_size`, and nothing is drawn: group-ranked SFT, no unbiased policy gradient. The clipped
    ratio of the papers is always 1 in their code, and here at `refresh=1`.

    `window` above 0 weighs the other answers' advantages by how near their rank is to `window_anchor`: a
    reconstruction of TAWin (arXiv 2604.22504), which has no code, from what is known of it.
    """

    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        **ON_POLICY_PRESETS,
        "official": {"train.epochs": 2.0},
    }
    """`official`: the second epoch of the code of ReRe and MiniOneRec."""

    reward: Literal["rule", "ranking", "ranking-only", "semantic", "sasrec"] = "ranking"
    """`rule`: 1 for the target. `ranking`: that, and penalties by place. `ranking-only`: the penalties.
    `semantic`: the cosine of the texts of target and answer. `sasrec`: SASRec's logit of the answer, for
    which the paper reports reward hacking. A reward of your own is a method of its own: `recbench method new
    NAME --kind on-policy`."""
    penalty: Literal["places", "misses"] = "places"
    """What penalties are divided by: the discounts of all places, as in the code, or of the misses, as in
    MiniOneRec's paper."""
    window: NotNegative = 0.0
    """The sum of the weights of the other answers before they are scaled to a mean of 1, K of Recall@K; 0:
    all weigh alike."""
    window_anchor: Count = 2
    """The rank, from 1 among the other answers, that weighs most."""
    window_tau: Positive = 1.0
    """How slowly the weights fall with the distance of a rank to the anchor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window and self.window >= self.group_size - 1:
            raise UsageError(
                f"window={self.window:g} covers all {self.group_size - 1} other answers of a group",
                why="weights of at most 1 that sum to so much leave no window",
                fix=f"window={(self.group_size - 1) / 4:g}, or a larger group_size",
            )

    def make_reward(self, policy: Policy, examples: NextItem, data: TrainingData, run: LLMRun) -> Reward:
        from recbench.llm import ranking_reward, rule_reward, sasrec_reward, semantic_reward

        match self.reward:
            case "rule":
                return rule_reward
            case "semantic":
                return semantic_reward(policy, data, run)
            case "sasrec":
                return sasrec_reward(examples, data, run)
            case _:
                return ranking_reward(self.penalty, hits=self.reward == "ranking")

    def advantage(self, groups: ResponseGroups, rewards: Tensor) -> Tensor:
        from recbench.llm import windowed

        advantages = super().advantage(groups, rewards)
        if not self.window:
            return advantages
        return windowed(advantages, groups, mass=self.window, anchor=self.window_anchor, tau=self.window_tau)
