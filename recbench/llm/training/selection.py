"""Which weights of a stage are kept: its last ones, or those that ranked validation best."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback

from recbench.base.progress import Reporter
from recbench.errors import UsageError
from recbench.llm.model.policy import Policy
from recbench.settings import SELECTIONS, TrainSettings

RECORD, WEIGHTS = "selection.json", "best.safetensors"


def evaluation_steps(steps: int) -> list[int]:
    """The steps after which a stage of `steps` steps is evaluated, evenly spread, the last among them; all
    where there are fewer than five."""
    return sorted({-(-steps * number // SELECTIONS) for number in range(1, SELECTIONS + 1)})


@dataclass(slots=True)
class Selected:
    """The evaluations of a stage so far."""

    steps: list[int] = field(default_factory=list)
    ndcg_at_10: list[float] = field(default_factory=list)
    seconds: float = 0.0
    generated_tokens: int = 0

    @property
    def kept(self) -> int:
        """The step with the highest value, the first of equal ones."""
        return self.steps[self.ndcg_at_10.index(max(self.ndcg_at_10))]

    @property
    def since_best(self) -> int:
        """Evaluations after the best one."""
        return len(self.steps) - 1 - self.steps.index(self.kept) if self.steps else 0


class KeepBest(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """Evaluates the policy during a stage, and keeps a copy of the trainable weights that did best.

    The copy and the evaluations are part of every checkpoint. With `patience` the stage ends after so many
    evaluations in a row without a better one. Several processes evaluate together and decide alike.
    """

    def __init__(self, policy: Policy, settings: TrainSettings, *, steps: int, report: Reporter) -> None:
        if policy.validate is None:
            raise UsageError(
                "train.select=best has no validation requests to select by",
                why="the policy was made outside of a fit, or the split has none",
                fix="--set train.select=last",
            )
        self._validate = policy.validate
        self._model: nn.Module = policy.model
        self._patience = settings.patience
        self._at = set(evaluation_steps(steps))
        self._report = report
        self._best: dict[str, Tensor] = {}
        self.selected = Selected()

    @property
    def ended(self) -> bool:
        """Whether patience has ended the stage."""
        return 0 < self._patience <= self.selected.since_best

    def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        del args
        if state.global_step not in self._at:
            return
        began, selected = time.perf_counter(), self.selected
        value, generated = self._validate()
        selected.steps.append(state.global_step)
        selected.ndcg_at_10.append(value)
        selected.generated_tokens += generated
        if selected.kept == state.global_step:
            trained = trainable(self._model)
            self._best = {name: weight.detach().to("cpu", copy=True) for name, weight in trained.items()}
        selected.seconds += time.perf_counter() - began
        self._report.log(step=state.global_step, valid_ndcg_at_10=value)
        if self.ended:
            control.should_training_stop = control.should_save = True

    def restore(self) -> None:
        """Give the model the best weights."""
        trained = trainable(self._model)
        with torch.no_grad():
            for name, weight in self._best.items():
                trained[name].copy_(weight)

    def save(self, folder: Path) -> None:
        (folder / RECORD).write_text(json.dumps(asdict(self.selected)))
        if self._best:
            save_file({name: weight.contiguous() for name, weight in self._best.items()}, folder / WEIGHTS)

    def load(self, folder: Path) -> None:
        self.selected = Selected(**json.loads((folder / RECORD).read_text()))
        self._best = load_file(folder / WEIGHTS) if self.selected.steps else {}


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that training can change, by name; a tied weight once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
