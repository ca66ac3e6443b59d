"""Rows of chosen and rejected responses, and their log-probabilities under a reference.

E examples, K rejected responses of an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbench.base import digest
from recbench.data import Floats, Ints
from recbench.errors import UsageError
from recbench.llm.model.policy import Policy
from recbench.llm.training.examples import CHOSEN, NextItem, with_rejected
from recbench.llm.training.pack import Row, num_tokens
from recbench.llm.training.scoring import logps
from recbench.method import LLMRun, RunContext
from recbench.stages import StageCache


@dataclass(frozen=True, slots=True, eq=False)
class PreferencePairs:
    """Chosen and rejected responses as packed rows."""

    rows: list[Row]
    rejected: Ints  # [E, K] items; -1 where there is none
    dropped: float
    """Share of the requested pairs that are missing: no negative was found, or it reads like the target."""
    unrelated: bool = False
    """Whether slot 1 has the chosen response of another prompt; the rejected ones come after it."""

    @property
    def first_rejected(self) -> int:
        return CHOSEN + 1 + self.unrelated

    @property
    def num_slots(self) -> int:
        return self.first_rejected + int(self.rejected.shape[1])


def make_pairs(
    policy: Policy,
    examples: NextItem,
    rejected: Ints,
    *,
    unrelated: Ints | None = None,
    keep_all: bool = False,
) -> PreferencePairs:
    """Rows of `examples` with the items `rejected` [E, K] (-1: none) beside each target.

    A negative with the target's own identifier would be chosen and rejected at once, so it is dropped. An
    example that keeps no negative is left out, unless `keep_all`. `unrelated` [E] are items whose response is
    read after each prompt too, neither chosen nor rejected.
    """
    rejected = without_targets(policy, examples, rejected)
    kept = rejected >= 0
    rejected = rejected[:, : max(1, int(kept.sum(1).max(initial=0)))]
    named: list[list[int]] = [[item for item in row if item >= 0] for row in rejected.tolist()]
    if unrelated is not None:
        named = [[int(unrelated[e]), *row] if row or keep_all else row for e, row in enumerate(named)]
    responses = [[policy.prompts.response(item) for item in row] for row in named]
    return PreferencePairs(
        rows=with_rejected(policy.prompts, examples, responses, keep_all=keep_all),
        rejected=rejected,
        dropped=1 - float(kept.mean()) if kept.size else 0.0,
        unrelated=unrelated is not None,
    )


def without_targets(policy: Policy, examples: NextItem, rejected: Ints) -> Ints:
    """`rejected` [E, K] without items that have the target's own identifier; the others come first, in their
    order."""
    leaf = policy.trie.leaf
    kept = (rejected >= 0) & (leaf[rejected.clip(0)] != leaf[examples.target][:, None])
    order = np.argsort(~kept, axis=1, kind="stable")
    found: Ints = np.where(np.take_along_axis(kept, order, 1), np.take_along_axis(rejected, order, 1), -1)
    return found


def other_targets(policy: Policy, examples: NextItem, run: RunContext) -> Ints:
    """[E] for each example the target of the one before it in a random order, read as a circle.

    An example whose identifier is the same is passed over. UsageError where all examples have one.
    """
    leaf = policy.trie.leaf[examples.target]
    if (leaf == leaf[0]).all():
        raise UsageError(
            "every training target has the same identifier",
            why="KTO compares with the responses of other prompts, which must differ from the prompt's own",
        )
    order = run.rng("unrelated").permutation(len(examples))
    before = np.arange(len(order)) - 1
    while (same := leaf[order[before]] == leaf[order]).any():
        before[same] -= 1  # below zero, an index counts from the end, and once round no step is missed
        before[before < -len(order)] += len(order)
    found = np.empty(len(order), dtype=np.int64)
    found[order] = examples.target[order[before]]
    return found


def reference_logps(
    policy: Policy, pairs: PreferencePairs, run: LLMRun, *, weights: str, stages: StageCache | None = None
) -> Floats:
    """[E, 1 + K] log-probabilities under the current `policy`, the chosen response first; NaN for a missing
    response.

    Cached in `stages` under `weights`, the name of the policy's weights; in `run.stages`, the default, every
    method that starts from the same parent finds them.
    """
    precision = run.llm.train.precision

    def build(folder: Path) -> dict[str, int]:
        def progress(done: int, total: int) -> None:
            run.report.progress("reference", done, total)

        values = logps(policy, pairs.rows, precision=precision, progress=progress)
        table = np.full((len(pairs.rejected), pairs.num_slots), np.nan)
        columns = [(row.facts["example"], row.facts["slot"]) for row in pairs.rows]
        if columns:
            example, slot = (np.concatenate(column) for column in zip(*columns, strict=True))
            table[example, slot] = values
        np.save(folder / "logps.npy", table)
        return {"forward_tokens": num_tokens(pairs.rows)}

    spec = {"weights": weights, "rows": _digest(pairs.rows), "precision": precision}
    folder = (stages or run.stages).get("reference", spec, build)
    stored: Floats = np.load(folder / "logps.npy", allow_pickle=False)
    return stored


def _digest(rows: Sequence[Row]) -> str:
    parts = ("input_ids", "position", "predictor", "label", "response")
    return digest.of_arrays(
        {
            part: np.concatenate([getattr(row, part) for row in rows] or [np.zeros(0, np.int64)])
            for part in parts
        }
    )
