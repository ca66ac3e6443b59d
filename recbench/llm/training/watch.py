"""Watch a share that a method's objective measures, and warn at the end of training where it is too high."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from recbench.method import RunContext


class ShareWatch(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """The mean of a share over the steps of a stage but the first tenth, in which a model is still unsteady.

    At the end it is logged as `NAME_late`; above `limit` `warning`, whose `{}` takes it as a percentage, is
    logged too. A resumed stage is measured from where it resumed.
    """

    def __init__(self, name: str, run: RunContext, *, limit: float, warning: str, skip: float = 0.1) -> None:
        self.name, self.run, self.limit, self.warning, self.skip = name, run, limit, warning, skip
        self.counts = False
        self.values: list[Tensor] = []

    def add(self, share: Tensor) -> None:
        """Take the share of one forward pass."""
        if self.counts:
            self.values.append(share.detach())

    def on_step_begin(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        del args, control
        self.counts = state.global_step >= self.skip * state.max_steps

    def on_train_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        del args, control
        if not self.values:
            return
        share = float(torch.stack(self.values).mean())
        self.run.report.log(step=state.global_step, **{f"{self.name}_late": share})
        if share > self.limit:
            self.run.report.log(warning=self.warning.format(f"{share:.0%}"))
