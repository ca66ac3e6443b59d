"""Train on pairs of a chosen and rejected responses (DPO and its kin).

E examples, B examples of a batch, K rejected responses of an example, S supervised positions, R responses of
a batch, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.base import digest
from recbench.data import Floats, Ints, TrainingData
from recbench.llm.losses.preference import preference_diagnostics
from recbench.llm.losses.tokens import sequence_logp, token_logp
from recbench.llm.model.policy import Policy
from recbench.llm.training.batch import Supervision
from recbench.llm.training.examples import CHOSEN, NextItem, with_rejected
from recbench.llm.training.forward import Phi
from recbench.llm.training.pack import Row
from recbench.llm.training.scoring import logps
from recbench.llm.training.trainer import train
from recbench.method import LLMRun
from recbench.stages import StageCache


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch:
    """Summed log-probabilities of a batch under the policy and under its reference."""

    pi_w: Tensor  # [B] chosen
    pi_l: Tensor  # [B, K] rejected
    ref_w: Tensor
    ref_l: Tensor
    mask: Tensor  # [B, K] False where an example has fewer rejected responses
    example: Tensor  # [B] index of the example


PairLoss = Callable[[PairBatch], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class PreferencePairs:
    """Chosen and rejected responses as packed rows."""

    rows: list[Row]
    rejected: Ints  # [E, K] items; -1 where there is none
    dropped: float
    """Share of the requested pairs that are missing: no negative was found, or it reads like the target."""

    @property
    def num_slots(self) -> int:
        return 1 + int(self.rejected.shape[1])


def make_pairs(policy: Policy, examples: NextItem, rejected: Ints) -> PreferencePairs:
    """Rows of `examples` with the items `rejected` [E, K] (-1: none) beside each target.

    A negative with the target's own identifier would be chosen and rejected at once, so it is dropped. An
    example that keeps no negative is left out.
    """
    leaf = policy.trie.leaf
    same = leaf[rejected.clip(0)] == leaf[examples.target][:, None]
    kept = (rejected >= 0) & ~same
    width = max(1, int(kept.sum(1).max(initial=0)))
    order = np.argsort(~kept, axis=1, kind="stable")[:, :width]
    rejected = np.where(np.take_along_axis(kept, order, 1), np.take_along_axis(rejected, order, 1), -1)
    responses = [[policy.prompts.response(item) for item in row if item >= 0] for row in rejected.tolist()]
    return PreferencePairs(
        rows=with_rejected(policy.prompts, examples, responses),
        rejected=rejected,
        dropped=1 - float(kept.mean()) if kept.size else 0.0,
    )


def reference_logps(
    policy: Policy, pairs: PreferencePairs, run: LLMRun, *, weights: str, stages: StageCache | None = None
) -> Floats:
    """[E, 1 + K] log-probabilities under the current `policy`, the chosen response first; NaN for a missing
    response.

    Cached in `stages` under `weights`, the name of the policy's weights; in `run.stages`, the default, every
    method that starts from the same parent finds them.
    """
    precision = run.llm.train.precision

    def build(folder: Path) -> None:
        def progress(done: int, total: int) -> None:
            run.report.progress("reference", done, total)

        values = logps(policy, pairs.rows, precision=precision, progress=progress)
        table = np.full((len(pairs.rejected), pairs.num_slots), np.nan)
        columns = [(row.facts["example"], row.facts["slot"]) for row in pairs.rows]
        if columns:
            example, slot = (np.concatenate(column) for column in zip(*columns, strict=True))
            table[example, slot] = values
        np.save(folder / "logps.npy", table)

    spec = {"weights": weights, "rows": _digest(pairs.rows), "precision": precision}
    folder = (stages or run.stages).get("reference", spec, build)
    stored: Floats = np.load(folder / "logps.npy", allow_pickle=False)
    return stored


def train_on_pairs(
    policy: Policy,
    examples: NextItem,
    rejected: Ints,
    loss: PairLoss,
    *,
    data: TrainingData,
    run: LLMRun,
    sft_weight: float = 0.0,
    stage: str = "training",
    share: float = 1.0,
    weights: str | None = None,
    stages: StageCache | None = None,
) -> None:
    """Minimise `loss` over the pairs; the reference is the policy before this training.

    `rejected` is [E, K] items, -1 for none. `sft_weight` adds that much cross-entropy of the chosen
    responses, which keeps them likely where a pair loss alone would let them sink with the rejected ones.
    `weights` names the policy's weights if they are not the parent's.
    """
    if weights is None:
        weights = run.needed_parent.id
    pairs = make_pairs(policy, examples, rejected)
    reference = reference_logps(policy, pairs, run, weights=weights, stages=stages)
    objective = PairObjective(loss, pairs, reference, popularity=percentiles(data), sft_weight=sft_weight)
    train(policy, pairs.rows, objective, settings=run.llm.train, run=run, stage=stage, share=share)


class PairObjective:
    """A pair loss, a mean over examples, with the diagnostics that every preference run logs."""

    num_layers = 0
    phi: Phi = "shared"

    def __init__(
        self,
        loss: PairLoss,
        pairs: PreferencePairs,
        reference: Floats,
        *,
        popularity: NDArray[np.float64],
        sft_weight: float = 0.0,
    ) -> None:
        self.loss = loss
        self.num_slots = pairs.num_slots
        self.dropped = pairs.dropped
        self.sft_weight = sft_weight
        self.reference = torch.from_numpy(reference)
        of_rejected = np.where(pairs.rejected >= 0, popularity[pairs.rejected.clip(0)], np.nan)
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
        parts = [self.loss(batch)]
        terms = preference_diagnostics(batch.pi_w, batch.pi_l, batch.ref_w, batch.ref_l, batch.mask)
        popularity = self.popularity.to(logits.device)[batch.example]
        terms["negatives_popularity"] = popularity.nanmean()
        terms["dropped_share"] = logits.new_tensor(self.dropped)
        if self.sft_weight:
            chosen = supervision.columns["slot"][supervision.response] == CHOSEN
            parts.append(-self.sft_weight * tokens[chosen].mean())
        stacked = torch.stack(parts)
        return stacked, {"loss": stacked.sum(), **terms}

    def batch(self, tokens: Tensor, supervision: Supervision) -> PairBatch:
        """Sort the responses' log-probabilities by example and slot."""
        slot = supervision.columns["slot"]
        values = sequence_logp(tokens, supervision.response, len(slot))
        example, row = torch.unique(supervision.columns["example"], return_inverse=True)
        pi = values.new_zeros(len(example), self.num_slots).index_put((row, slot), values)
        present = torch.zeros_like(pi, dtype=torch.bool).index_put((row, slot), slot.new_ones(()).bool())
        reference = self.reference.to(pi.device)[example].to(pi.dtype).nan_to_num(0.0)
        return PairBatch(
            pi_w=pi[:, CHOSEN],
            pi_l=pi[:, 1:],
            ref_w=reference[:, CHOSEN],
            ref_l=reference[:, 1:],
            mask=present[:, 1:],
            example=example,
        )


def percentiles(data: TrainingData) -> NDArray[np.float64]:
    """[I] popularity percentile: the share of items with fewer training interactions, ties counted half."""
    counts = data.catalogue.popularity
    ordered = np.sort(counts)
    below, upto = np.searchsorted(ordered, counts, "left"), np.searchsorted(ordered, counts, "right")
    shares: NDArray[np.float64] = (below + upto) / 2 / len(counts)
    return shares


def _digest(rows: Sequence[Row]) -> str:
    parts = ("input_ids", "position", "predictor", "label", "response")
    return digest.of_arrays(
        {
            part: np.concatenate([getattr(row, part) for row in rows] or [np.zeros(0, np.int64)])
            for part in parts
        }
    )
