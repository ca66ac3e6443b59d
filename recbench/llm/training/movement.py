"""How far training moved a policy: a fit that did not train looks like a method that does not help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbench.data import TrainingData
from recbench.llm.model.policy import Policy
from recbench.llm.training.pack import Row, prefix_tree
from recbench.llm.training.scoring import logps

SAMPLE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Movement:
    rows: list[Row]
    before: NDArray[np.float64]

    @classmethod
    def begin(cls, policy: Policy, data: TrainingData) -> Movement:
        """Log-probabilities of the last training targets of evenly spaced users, before training."""
        long = np.flatnonzero(data.sequences.lengths > 1)
        rows = []
        for place in np.unique(np.linspace(0, len(long) - 1, SAMPLE).round().astype(int)):
            *history, target = data.sequences[int(long[place])][-data.history - 1 :].tolist()
            rows.append(prefix_tree([policy.prompts.example(history, target)]))
        return cls(rows, logps(policy, rows))

    def since(self, policy: Policy) -> float:
        """Mean absolute change of a target's log-probability, in nats."""
        return float(np.abs(logps(policy, self.rows) - self.before).mean())
