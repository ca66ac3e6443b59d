"""The processes that share a fit or a ranking: their threads and GPUs, their number, and a common stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from recbench.errors import RecbenchError
from recbench.method import RunContext, Stopped


def begin(run: RunContext) -> None:
    """Set the threads and the GPU of this process."""
    if run.threads:
        torch.set_num_threads(run.threads)
    if run.device == "cuda" and run.world_size > 1:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def check_world_size(trainer: Any, run: RunContext) -> None:
    """Raise RecbenchError unless the trainer runs the requested number of processes."""
    processes = trainer.accelerator.num_processes
    if processes != run.world_size:
        raise RecbenchError(
            f"the trainer's world size is {processes}, not {run.world_size} as requested",
            why="it would train on batches of another size",
        )


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum `values` in place over the processes of a fit; a fit of one process leaves them as they are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


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
