"""The token budget of a fit, in the regime that gives every method of a block the same total."""

from __future__ import annotations

from dataclasses import replace

from recbench.data import TrainingData
from recbench.errors import UsageError
from recbench.llm.model.policy import Policy
from recbench.llm.training.pack import num_tokens
from recbench.llm.training.tasks import training_rows
from recbench.method import LLMRun


def token_budget(policy: Policy, data: TrainingData, run: LLMRun) -> int | None:
    """The tokens of `train.budget_epochs` epochs of the rows of all tasks, minus the parent's trained tokens.

    None in the regime `recipe`. Raises UsageError if the parent has used the whole budget.
    """
    settings = run.llm.train
    if not settings.budget_epochs:
        return None
    everything = replace(run, llm=replace(run.llm, train=replace(settings, max_rows=0)))
    total = settings.budget_epochs * num_tokens(training_rows(policy, data, everything).rows)
    left = round(total - (run.parent.trained_tokens if run.parent is not None else 0))
    if left <= 0:
        raise UsageError(
            f"a budget of {settings.budget_epochs:g} epochs leaves nothing after the parent's training",
            fix="--set train.budget_epochs=<more than the parent's epochs>",
        )
    return left
