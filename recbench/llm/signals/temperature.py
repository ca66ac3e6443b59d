"""MSL's adaptive temperature: after each optimiser step it moves towards the one that the step's logits ask
for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from recbench.base.files import write_text
from recbench.llm.items.edges import EdgeScores
from recbench.llm.losses.trie import NOTHING, TAU_START, FirstTokens, adaptive_tau
from recbench.llm.model.policy import Policy
from recbench.llm.model.processes import sum_over_processes
from recbench.llm.training.trie_loss import TrieCrossEntropy
from recbench.method import RunContext

RECORD = "tau.txt"
KEPT = 0.95
"""Share of the temperature that a step leaves."""


class AdaptiveTemperature(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """τ <- 0.95 τ + 0.05 τ_new, from the first tokens of all processes in a step; the policy ranks with it.

    The temperature after each step is a line of a file in the fit's folder, so that a resumed fit goes on
    where its checkpoint was made, and one whose training had ended keeps its own.
    """

    def __init__(
        self, objective: TrieCrossEntropy, policy: Policy, run: RunContext, *, eta: float = 0.25
    ) -> None:
        self.objective, self.policy, self.run, self.eta = objective, policy, run, eta
        self.record: Path = run.workdir / RECORD
        known = self.record.read_text().split() if self.record.exists() else []
        self.history = [float(value) for value in known]
        objective.watches = True
        objective.tau = TAU_START

    def on_train_begin(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        del args, control
        del self.history[state.global_step :]
        if self.run.main:
            write_text(self.record, "".join(map(_line, self.history)))
        self._use(self.history[-1] if self.history else TAU_START)

    def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        del args, state, control
        sums = torch.tensor(self.objective.seen, dtype=torch.float64, device=self.run.device)
        seen = FirstTokens(*sum_over_processes(sums).tolist())
        self.objective.seen = NOTHING
        tau = self.objective.tau
        if seen.rows:
            tau = KEPT * tau + (1 - KEPT) * adaptive_tau(seen, eta=self.eta)
        self.history.append(tau)
        self._use(tau)
        if self.run.main:
            with self.record.open("a", encoding="utf-8") as record:
                record.write(_line(tau))

    def keep(self, step: int | None) -> None:
        """Give the policy the temperature after a step; None: after the last."""
        if self.history:
            self._use(self.history[-1] if step is None else self.history[step - 1])

    def _use(self, tau: float) -> None:
        self.objective.tau = tau
        self.policy.edges = EdgeScores(tau=tau)


def _line(tau: float) -> str:
    return f"{tau!r}\n"
