"""Train on pairs of a chosen and rejected responses (DPO and its kin).

E examples, B examples of a batch, K rejected responses of an example, S supervised positions, R responses of
a batch, I items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import TrainerCallback

from recbench.data import Floats, Ints, TrainingData
from recbench.llm.losses.pair_contract import scalar_loss
from recbench.llm.losses.pairs import PairBatch
from recbench.llm.losses.preference import preference_diagnostics
from recbench.llm.losses.tokens import sequence_logp, token_logp
from recbench.llm.model.policy import Policy
from recbench.llm.model.processes import sum_over_processes
from recbench.llm.signals.pair_rows import PreferencePairs, make_pairs, other_targets, reference_logps
from recbench.llm.training.batch import Supervision
from recbench.llm.training.examples import CHOSEN, NextItem
from recbench.llm.training.forward import Phi
from recbench.llm.training.trainer import num_steps, train
from recbench.method import LLMRun, RunContext
from recbench.settings import TrainSettings
from recbench.stages import StageCache

PairLoss = Callable[[PairBatch], Tensor]
"""The mean loss over the B examples of a batch, a scalar."""


def train_on_pairs(
    policy: Policy,
    examples: NextItem,
    rejected: Ints,
    loss: PairLoss,
    *,
    data: TrainingData,
    run: LLMRun,
    sft_weight: float = 0.0,
    needs_reference: bool = True,
    unrelated: bool = False,
    redraw: Callable[[int], Ints] | None = None,
    settings: TrainSettings | None = None,
    stage: str = "training",
    share: float = 1.0,
    weights: str | None = None,
    stages: StageCache | None = None,
) -> None:
    """Minimise `loss` over the pairs; the reference is the policy before this training.

    `rejected` is [E, K] items, -1 for none. `redraw` gives those of each later epoch, counted from 1.
    `sft_weight` adds that much cross-entropy of the chosen responses, which keeps them likely where a pair
    loss alone would let them sink with the rejected ones; then an example without a negative is kept for it.
    `needs_reference` and `unrelated` say what the batch has beside the policy's own log-probabilities.
    `weights` names the policy's weights if they are not the parent's. `settings`: default those of the run.
    """
    settings = settings or run.llm.train
    strangers = other_targets(policy, examples, run) if unrelated else None
    keep_all = sft_weight > 0 or redraw is not None

    def pairs_of(rejected: Ints) -> Drawn:
        pairs = make_pairs(policy, examples, rejected, unrelated=strangers, keep_all=keep_all)
        if not needs_reference:
            return Drawn(pairs, None)
        name = run.needed_parent.id if weights is None else weights
        return Drawn(pairs, reference_logps(policy, pairs, run, weights=name, stages=stages))

    drawn = [pairs_of(rejected)]
    if redraw is not None:
        rows = drawn[0].pairs.rows
        budget = None if run.token_budget is None else share * run.token_budget
        per_epoch = math.ceil(len(rows) / settings.batch)
        num_epochs = math.ceil(num_steps(settings, rows, budget) / per_epoch)
        drawn += [pairs_of(redraw(epoch)) for epoch in range(1, num_epochs)]
    objective = PairObjective(loss, *drawn[0], popularity=percentiles(data), sft_weight=sft_weight)
    turn = EpochPairs(objective, drawn)
    report_negatives(drawn[0], examples, data, run)
    train(
        policy,
        turn.rows,
        objective,
        settings=settings,
        run=run,
        stage=stage,
        share=share,
        callbacks=[turn] if redraw is not None else [],
    )


class Drawn(NamedTuple):
    """The pairs of an epoch, with their log-probabilities under the reference if the loss reads them."""

    pairs: PreferencePairs
    reference: Floats | None


class EpochPairs(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """Give the objective and the trainer the pairs of each epoch."""

    def __init__(self, objective: PairObjective, drawn: Sequence[Drawn]) -> None:
        self.objective, self.drawn = objective, drawn
        self.rows = list(drawn[0].pairs.rows)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        del args, control
        epoch = int((state.epoch or 0) + 1e-6)  # the trainer counts epochs in floats
        now = self.drawn[min(epoch, len(self.drawn) - 1)]
        self.objective.use(*now)
        self.rows[:] = now.pairs.rows  # the trainer reads this very list


class PairObjective:
    """A pair loss, a mean over examples, with the diagnostics that every preference run logs."""

    num_layers = 0
    phi: Phi = "shared"

    def __init__(
        self,
        loss: PairLoss,
        pairs: PreferencePairs,
        reference: Floats | None,
        *,
        popularity: NDArray[np.float64],
        sft_weight: float = 0.0,
    ) -> None:
        self.loss = loss
        self.sft_weight = sft_weight
        self.of_items = popularity  # [I]
        self.use(pairs, reference)

    def use(self, pairs: PreferencePairs, reference: Floats | None) -> None:
        """Take these pairs from now on."""
        self.pairs = pairs
        self.rejected = torch.from_numpy(pairs.rejected)
        self.reference = None if reference is None else torch.from_numpy(reference)
        of_rejected = np.where(pairs.rejected >= 0, self.of_items[pairs.rejected.clip(0)], np.nan)
        self.popularity = torch.from_numpy(of_rejected)  # [E, K]

    def units(self, supervision: Supervision) -> list[int]:
        """Examples and, with `sft_weight`, tokens of the chosen responses."""
        chosen = supervision.columns["slot"] == CHOSEN
        examples = int(chosen.sum())
        return [examples, int(chosen[supervision.response].sum())] if self.sft_weight else [examples]

    def __call__(
        self, logits: Tensor, layer_logits: list[Tensor], supervision: Supervision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del layer_logits
        tokens = token_logp(logits, supervision.label)
        batch = self.batch(tokens, supervision)
        parts = [scalar_loss(self.loss(batch))]
        terms = diagnostics(batch)
        popularity = self.popularity[batch.example.cpu()]
        if not popularity.isnan().all():
            terms["negatives_popularity"] = popularity.nanmean().to(logits.device)
        terms["dropped_share"] = logits.new_tensor(self.pairs.dropped)
        if self.sft_weight:
            chosen = supervision.columns["slot"][supervision.response] == CHOSEN
            parts.append(-self.sft_weight * tokens[chosen].mean())
        stacked = torch.stack(parts)
        return stacked, {"loss": stacked.sum(), **terms}

    def batch(self, tokens: Tensor, supervision: Supervision) -> PairBatch:
        """Sort the responses' log-probabilities by example and slot."""
        slot, first = supervision.columns["slot"], self.pairs.first_rejected
        example, row = torch.unique(supervision.columns["example"], return_inverse=True)
        members = example.cpu()  # the tables of all examples stay in the machine's memory
        empty = tokens.new_zeros(len(example), self.pairs.num_slots)

        def table(values: Tensor) -> Tensor:
            return empty.index_put((row, slot), values.to(empty.dtype))

        pi = table(sequence_logp(tokens, supervision.response, len(slot)))
        length = table(torch.bincount(supervision.response, minlength=len(slot)))
        reference = None
        if self.reference is not None:
            reference = self.reference[members].to(pi).nan_to_num(0.0)
        unrelated = None
        if self.pairs.unrelated and reference is not None:
            unrelated = mean_over_processes((pi - reference)[:, CHOSEN + 1].detach())
        return PairBatch(
            pi_w=pi[:, CHOSEN],
            pi_l=pi[:, first:],
            mask=table(torch.ones_like(slot))[:, first:] > 0,
            len_w=length[:, CHOSEN],
            len_l=length[:, first:],
            example=example,
            rejected=self.rejected[members].to(pi.device),
            reference=None if reference is None else (reference[:, CHOSEN], reference[:, first:]),
            unrelated=unrelated,
        )


def diagnostics(batch: PairBatch) -> dict[str, Tensor]:
    """`preference_diagnostics` of a batch; without a reference margin and accuracy are those of the
    log-probabilities themselves, and there is neither displacement nor divergence."""
    if batch.reference is not None:
        return preference_diagnostics(batch.pi_w, batch.pi_l, batch.ref_w, batch.ref_l, batch.mask)
    nothing_w, nothing_l = torch.zeros_like(batch.pi_w), torch.zeros_like(batch.pi_l)
    terms = preference_diagnostics(batch.pi_w, batch.pi_l, nothing_w, nothing_l, batch.mask)
    return {name: value for name, value in terms.items() if name not in ("displacement", "kl")}


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of `values` [B], of all processes together."""
    total = sum_over_processes(torch.stack([values.sum(), values.new_tensor(float(len(values)))]))
    return total[0] / total[1].clamp_min(1)


def report_negatives(drawn: Drawn, examples: NextItem, data: TrainingData, run: RunContext) -> None:
    """Log what is known of the negatives before training.

    `negatives_missing_share`. `negatives_valid_share`: those that are a validation target of the user, and
    so hardly negative. With a reference `parent_accuracy`: the share of targets that the parent finds
    likelier than all their negatives.
    """
    rejected, reference = drawn.pairs.rejected, drawn.reference
    found = rejected >= 0
    wanted = data.valid.requests.user * data.num_items + data.valid.target
    false = found & np.isin(examples.user[:, None] * data.num_items + rejected, wanted)
    facts = {
        "negatives_missing_share": drawn.pairs.dropped,
        "negatives_valid_share": float(false.sum() / max(1, found.sum())),
    }
    if reference is not None:
        of_rejected = np.nan_to_num(reference[:, drawn.pairs.first_rejected :], nan=-np.inf)
        paired = found.any(1)
        won = reference[paired, CHOSEN] > of_rejected[paired].max(1)
        facts["parent_accuracy"] = float(won.mean()) if len(won) else 0.0
    run.report.log(**facts)


def percentiles(data: TrainingData) -> NDArray[np.float64]:
    """[I] popularity percentile: the share of items with fewer training interactions, ties counted half."""
    counts = data.catalogue.popularity
    ordered = np.sort(counts)
    below, upto = np.searchsorted(ordered, counts, "left"), np.searchsorted(ordered, counts, "right")
    shares: NDArray[np.float64] = (below + upto) / 2 / len(counts)
    return shares
