"""Train on targets and on a teacher's answers at once, in a proportion that a schedule sets."""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerCallback

from recbench.base.files import write_text
from recbench.data import TrainingData
from recbench.llm.decoding.answers import answer, texts
from recbench.llm.decoding.text_space import DIM, TextSpace
from recbench.llm.items.embeddings import interaction_svd
from recbench.llm.items.encoders import Vectors
from recbench.llm.items.identifiers import DATA_SEED
from recbench.llm.losses.soft import soft_distance, soft_tau
from recbench.llm.losses.tokens import token_logp
from recbench.llm.model.policy import Policy
from recbench.llm.training.batch import Supervision
from recbench.llm.training.examples import CHOSEN, NextItem
from recbench.llm.training.forward import Phi
from recbench.method import LLMRun
from recbench.settings import backbone_class

RECORD = "distances.json"


class Distillation:
    """(1 - tau) times the token loss on targets and tau times that on answers, each a part of its own and a
    mean over its own tokens (arXiv 2505.20771, section 3.2).

    Needs rows as `with_rejected` makes them, with the answer in slot 1.
    """

    num_layers = 0
    phi: Phi = "shared"

    def __init__(self) -> None:
        self.tau = 1.0

    def units(self, supervision: Supervision) -> list[int]:
        real = int(_is_real(supervision).sum())
        return [real, len(supervision.label) - real]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del layer_logits
        loss, real = -token_logp(logits, supervision.label), _is_real(supervision)
        on_targets, on_answers = loss[real].mean(), loss[~real].mean()
        parts = torch.stack([(1 - self.tau) * on_targets, self.tau * on_answers])
        terms = {"loss": parts.sum(), "loss_targets": on_targets, "loss_answers": on_answers}
        return parts, terms


def _is_real(supervision: Supervision) -> Tensor:
    """[S] whether a position is of a target, not of an answer."""
    return (supervision.columns["slot"] == CHOSEN)[supervision.response]


class Scheduled(Protocol):
    """The settings of a method with a schedule."""

    alpha: float
    sample: int


def interaction_vectors(data: TrainingData) -> Vectors:
    """[I, D] the items by who interacted with them: where the text of titles tells no answer from any other
    item, as on a backbone that is not pretrained, these do."""
    return interaction_svd(data.sequences, num_items=data.num_items, dim=DIM, seed=DATA_SEED)


class Schedule(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """Before each epoch, answer a fixed sample of training prompts and set tau by the answers' distance.

    The distance is that of the texts as written in the space of a pretrained model; on a backbone of ours it
    is that of the items that they name in the space of interactions. It is stored in the fit's folder, so
    that a resumed epoch keeps its tau. Where tau is still at least 1 after an epoch, the fit warns.
    """

    def __init__(
        self,
        method: Scheduled,
        objective: Distillation,
        policy: Policy,
        examples: NextItem,
        data: TrainingData,
        run: LLMRun,
        space: TextSpace,
    ) -> None:
        self.method, self.objective, self.policy = method, objective, policy
        self.data, self.run, self.space = data, run, space
        self.free = run.llm.paradigm != "semantic-id"
        pretrained = backbone_class(run.llm.backbone) == "pretrained"
        self.as_written = self.free and pretrained
        self.vectors = space.vectors if pretrained else interaction_vectors(data)
        sample = run.rng("sample").permutation(len(examples))[: method.sample]
        self.requests, self.target = examples.requests(sample), examples.target[sample]
        path = run.workdir / RECORD
        self.distances: list[float] = json.loads(path.read_text()) if path.exists() else []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        del args, control
        epoch = int((state.epoch or 0) + 1e-6)  # the trainer counts epochs in floats
        if epoch >= len(self.distances):
            self.distances.append(self._distance())
            write_text(self.run.workdir / RECORD, json.dumps(self.distances))
        # a model that already gives every target has distance 0 and nothing to schedule
        first = self.distances[0] or 1.0
        tau = soft_tau(self.distances[epoch] if self.distances[0] else 1.0, first, self.method.alpha)
        self.objective.tau = tau.tau
        values = {"distance": self.distances[epoch], "tau": tau.tau, "tau_raw": tau.raw}
        self.run.report.log(step=state.global_step, **values)
        if epoch == 1 and tau.raw >= 1:
            self.run.report.log(
                warning=f"tau is {tau.raw:.3g} before clipping after the first epoch: answers are no nearer "
                f"to the targets ({self.distances[1]:.3g}) than before it ({first:.3g}), so SOFT learns from "
                "its teacher's answers alone, as with adaptive=false"
            )

    def _distance(self) -> float:
        """d_t: mean distance between the vectors of answers and targets."""
        answers = answer(self.policy, self.requests, self.data, self.run, self.space if self.free else None)
        self.run.report.count(generated_tokens=answers.num_tokens, forward_tokens=answers.num_read)
        vectors = self.vectors[answers.items]
        if self.as_written:  # encoded as written: an answer that is no title still has a vector
            vectors = self.space.encoder.encode(texts(self.policy, [ids[:-1] for ids in answers.responses]))
        outputs, targets = (np.asarray(side) for side in (vectors, self.vectors[self.target]))
        return float(soft_distance(torch.from_numpy(outputs), torch.from_numpy(targets)))
