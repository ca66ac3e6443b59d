"""Measure how far training moved a policy: a fit that did not train looks like a method without effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.data import TrainingData
from recbench.llm.model.policy import Policy
from recbench.llm.training.pack import Row, prefix_tree
from recbench.llm.training.scoring import logps

SAMPLE = 256
"""Users whose last target is scored; fewer where the split has fewer."""


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    """A sample of R training targets and their log-probabilities before training."""

    rows: list[Row]
    before: NDArray[np.float64]  # [R]

    @classmethod
    def begin(cls, policy: Policy, data: TrainingData) -> Movement:
        """Score the last training target of evenly spaced users, before training."""
        users = np.flatnonzero(data.sequences.lengths > 1)
        rows = []
        for index in np.unique(np.linspace(0, len(users) - 1, SAMPLE).round().astype(int)):
            *history, target = data.sequences[int(users[index])][-data.history - 1 :].tolist()
            rows.append(prefix_tree([policy.prompts.example(history, target)]))
        return cls(rows, logps(policy, rows))

    def since(self, policy: Policy) -> float:
        """Mean absolute change of a target's log-probability, in nats."""
        return float(np.abs(logps(policy, self.rows) - self.before).mean())
