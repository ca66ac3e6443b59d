"""A training that is asked to stop, in all of its processes at the same step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from recbench.method import Stopped


class StopWhenAsked(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """End training after a checkpoint when the file `stop` exists, in all processes at the same step.

    A step that is not `ready` for a checkpoint, in any process, is passed over."""

    def __init__(self, stop: Path | None, *, ready: Callable[[], bool] = lambda: True) -> None:
        self._stop, self._ready = stop, ready
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        if self._stop is None or state.global_step >= state.max_steps or not self._ready():
            return
        asked = self._stop.exists()
        if args.world_size > 1:
            by_any = torch.tensor([float(asked)], device=args.device)
            torch.distributed.all_reduce(by_any, op=torch.distributed.ReduceOp.MAX)
            asked = bool(by_any.item())
        if asked:
            self.stopped = control.should_save = control.should_training_stop = True

    def raise_if_stopped(self) -> None:
        if self.stopped:
            raise Stopped
