"""ILRec: SFT with self-hard negatives from the model's own intermediate layers (arXiv 2602.17410)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from recbench.data import TrainingData
from recbench.llm import LLMMethod
from recbench.method import LLMRun, Space
from recbench.ranges import NotNegative, Positive, Whole
from recbench.settings import LLMSettings

if TYPE_CHECKING:
    from torch import Tensor

    from recbench.llm import CollaborativeReward, Policy, ShareWatch, Supervision

MOST_NEGATIVE_LOGITS = 0.05
"""Share of negatives with a negative logit above which a fit warns."""


@dataclass
class ILRec(LLMMethod):
    """SFT with self-hard negatives from intermediate layers, distillation and a collaborative reward.

    L = L_CPO + lambda L_CPD + mu L_CRR (Eq. 12), in one stage from the base model. With `train.tasks=lc-rec`
    the answers to LC-Rec's other tasks have the plain next-token loss, as in SFT: rewards are of items.

    L_CPO is the next-token loss with the logits of negatives raised by a margin, where negatives are the
    tokens that an ensemble of intermediate layers finds nearly as probable as the target; L_CPD distils the
    last layer into these layers; L_CRR is cross-entropy with a soft label made of SASRec's item scores.

    The paper leaves several readings open; each is a parameter, and its default the recommended reading.

    The ablations: `beta=0` w/o CPO, `lam=0` w/o CPD, `mu=0` w/o CRR, `beta=0,lam=0` w/o CPT,
    `ensemble=final` w/o CNS (the paper's 0 layers).
    """

    version: ClassVar[int] = 1
    tasks: ClassVar[bool] = True
    space: ClassVar[Space] = {
        "k": {"tiny": (1, 2), "small": (1, 2, 3, 4), "pretrained": (1, 2, 3, 4)},
        "alpha": (0.1, 0.5, 0.8, 1.0, 1.2),
        "beta": (0.005, 0.01, 0.05, 0.1, 0.2),
        "lam": (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1),
        "mu": (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1),
        "train.lr": {"pretrained": (5e-5, 1e-4, 3e-4), "scratch": (1e-3, 3e-3, 1e-2)},
    }
    """alpha, beta, lam and mu are the paper's ranges (its implementation details), k is its Figure 5."""

    k: Whole = 2
    """Intermediate layers in the ensemble, those right below the last block (Eq. 3, read as k terms)."""
    alpha: Positive = 0.8
    """A token is a negative if its ensemble probability is at least this share of the target's (Eq. 4-5)."""
    beta: NotNegative = 0.1
    """Strength of the penalty on negatives (Eq. 7); in units of 1/logit, so it depends on the backbone."""
    lam: NotNegative = 0.01
    """Weight of the distillation (Eq. 8)."""
    mu: NotNegative = 0.01
    """Weight of the collaborative reward (Eq. 11); at 0 it needs no SASRec."""
    phi: Literal["shared", "shared_frozen", "extra_head", "norm_per_layer"] = "shared_frozen"
    """How an intermediate layer becomes logits (Eq. 2). `shared_frozen`: the model's own norm and head,
    without gradient to them on this path, so that distillation cannot move its teacher."""
    weight_source: Literal["logit", "prob"] = "logit"
    """What the weights of Eq. 6 are a softmax of: the ensemble's logits, or its probabilities."""
    cpo_form: Literal["mult", "mult_pos", "abs", "add", "rel_min"] = "mult"
    """`mult` is Eq. 7. It works the wrong way round on negatives with a negative logit; their share is
    logged, a fit warns above 5 % after the first tenth of training, and the other forms fix it."""
    cpd_direction: Literal["student_teacher", "teacher_student"] = "student_teacher"
    """`student_teacher` is the printed KL(layer || last layer) (Eq. 8)."""
    crr_space: Literal["literal", "trie"] = "literal"
    """Tokens with a soft label (Eq. 11): all negatives, or only those that continue an identifier."""
    ensemble: Literal["layers", "final"] = "layers"
    """`final` finds the negatives in the last layer: the ablation without cross-layer negatives."""
    detach_weights: bool = True
    """Whether no gradient flows through the weights of the negatives."""

    def __post_init__(self) -> None:
        if self.k == 0 and self.ensemble == "layers":
            self.ensemble = "final"

    @classmethod
    def identity(cls, llm: LLMSettings) -> Mapping[str, Any]:
        """Adds the reward model, which decides a fit just as the backbone does."""
        return {**super().identity(llm), "reward": cls.collaborative_identity()}

    def train(self, policy: Policy, data: TrainingData, run: LLMRun) -> None:
        from recbench.llm import ShareWatch, collaborative_reward, train, training_rows

        made = training_rows(policy, data, run)
        policy.tasks = made.tasks
        reward = collaborative_reward(policy.trie, data, made.examples, run) if self.mu else None
        watch = ShareWatch(
            "negative_logit_share",
            run,
            limit=MOST_NEGATIVE_LOGITS if self.cpo_form == "mult" and self.beta else 1.0,
            warning="{} of ILRec's negatives have a negative logit after the first tenth of training; "
            "cpo_form=mult penalises these less instead of more. Try ilrec:cpo_form=abs",
        )
        objective = ILRecObjective(self, reward, watch, several_tasks=bool(made.tasks))
        train(policy, made.rows, objective, settings=run.llm.train, run=run, callbacks=[watch])


class ILRecObjective:
    """Eq. 12 as a mean over a batch's tokens; the reward reads the rows' columns `example` and `target`."""

    def __init__(
        self,
        method: ILRec,
        reward: CollaborativeReward | None,
        watch: ShareWatch | None = None,
        *,
        several_tasks: bool = False,
    ) -> None:
        self.method = method
        self.several_tasks = several_tasks
        self.reward = reward
        self.watch = watch
        self.num_layers = method.k
        self.phi = method.phi

    def units(self, supervision: Supervision) -> list[int]:
        return [len(supervision.label)]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        from recbench.llm import token_ce

        if not self.several_tasks:
            return self.of_next_item(logits, layer_logits, supervision)
        asked = supervision.columns["example"][supervision.response] >= 0
        if bool(asked.all()):
            return self.of_next_item(logits, layer_logits, supervision)
        others = token_ce(logits[~asked], supervision.label[~asked])
        if not bool(asked.any()):
            return others, {"loss": others, "ce_other_tasks": others.detach()}
        mine, terms = self.of_next_item(
            logits[asked], [layer[asked] for layer in layer_logits], supervision.where(asked)
        )
        share = asked.float().mean()
        total = share * mine + (1 - share) * others
        return total, {**terms, "loss": total, "ce_other_tasks": others.detach()}

    def of_next_item(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 12 over positions that all answer which item is next."""
        from recbench.llm import ilrec_loss

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
        if self.watch is not None and "negative_logit_share" in terms:  # absent where the loss is SFT's
            self.watch.add(terms["negative_logit_share"])
        return total, {"loss": total, **terms}
