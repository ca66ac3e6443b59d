"""ILRec: SFT with self-hard negatives found in the model's own intermediate layers (arXiv 2602.17410)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from recbench.data import TrainingData
from recbench.llm.method import LLMMethod, LLMSettings
from recbench.method import LLMRun, Space

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm.model.policy import Policy
    from recbench.llm.signals.reward import CollaborativeReward
    from recbench.llm.training.batch import Supervision


@dataclass
class ILRec(LLMMethod):
    """SFT with self-hard negatives from intermediate layers, distillation and a collaborative reward.

    L_CPO + lambda L_CPD + mu L_CRR (Eq. 12) in one stage, from the base model.

    The ablations: `beta=0` w/o CPO, `lam=0` w/o CPD, `mu=0` w/o CRR, `beta=0,lam=0` w/o CPT,
    `ensemble=final` w/o CNS (the paper's 0 layers).
    """

    version: ClassVar[int] = 1
    space: ClassVar[Space] = {
        "k": (1, 2, 3, 4),
        "alpha": (0.1, 0.5, 0.8, 1.0, 1.2),
        "beta": (0.005, 0.01, 0.05, 0.1, 0.2),
        "lam": (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1),
        "mu": (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1),
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "tiny": (1e-3, 3e-3, 1e-2)},
    }
    """alpha, beta, lam and mu are the paper's ranges (its implementation details), k is its Figure 5."""

    k: int = 2
    """Intermediate layers in the ensemble, the ones right below the last block (Eq. 3, read as k terms)."""
    alpha: float = 0.8
    """A token is a negative from this share of the target's ensemble probability on (Eq. 4-5)."""
    beta: float = 0.1
    """Strength of the penalty on negatives (Eq. 7); in units of 1/logit, so it depends on the backbone."""
    lam: float = 0.01
    mu: float = 0.01
    phi: Literal["shared", "shared_frozen", "extra_head", "norm_per_layer"] = "shared_frozen"
    """How an intermediate layer becomes logits (Eq. 2). `shared_frozen`: the model's own norm and head,
    without gradient to them on this path, so that distillation cannot move its teacher."""
    weight_source: Literal["logit", "prob"] = "logit"
    cpo_form: Literal["mult", "mult_pos", "abs", "add", "rel_min"] = "mult"
    """`mult` is Eq. 7. It works the wrong way round on negatives with a negative logit; their share is
    logged, and the other forms fix it."""
    cpd_direction: Literal["student_teacher", "teacher_student"] = "student_teacher"
    crr_space: Literal["literal", "trie"] = "literal"
    ensemble: Literal["layers", "final"] = "layers"
    detach_weights: bool = True

    def __post_init__(self) -> None:
        if self.k < 0 or self.alpha <= 0:
            raise ValueError("k must be at least 0 and alpha above 0")
        if self.k == 0 and self.ensemble == "layers":
            self.ensemble = "final"

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        """Adds the reward model, which decides a fit as the backbone does."""
        return {**super().identity(llm), "reward": cls.collaborative_identity()}

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm.signals.reward import collaborative_reward
        from recbench.llm.training.examples import next_item
        from recbench.llm.training.trainer import train

        examples = next_item(policy.prompts, data, run)
        reward = collaborative_reward(policy.trie, data, examples, run) if self.mu else None
        objective = Objective(self, reward)
        train(policy, examples.rows, objective, settings=run.llm.train, run=run)


class Objective:
    """ILRec's loss over a batch; reads the columns `example` and `target` of its rows."""

    def __init__(self, method: ILRec, reward: CollaborativeReward | None) -> None:
        self.method = method
        self.reward = reward
        self.num_layers = method.k
        self.phi = method.phi

    def units(self, supervision: Supervision) -> list[int]:
        return [len(supervision.label)]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        from recbench.llm.training.losses_ilrec import ilrec_loss

        method = self.method
        total, terms = ilrec_loss(
            logits,
            layer_logits,
            supervision.label,
            alpha=method.alpha,
            beta=method.beta,
            lam=method.lam,
            mu=method.mu,
            weight_source=method.weight_source,
            cpo_form=method.cpo_form,
            cpd_direction=method.cpd_direction,
            crr_space=method.crr_space,
            detach_weights=method.detach_weights,
            ensemble=method.ensemble,
            rewards=None if self.reward is None else self.reward(supervision),
        )
        return total, {"loss": total, **terms}
