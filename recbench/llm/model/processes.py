"""One of the processes that share a fit or a ranking: its threads, its GPU, and whether all shall stop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from recbench.errors import RecbenchError
from recbench.method import RunContext, Stopped


def begin(run: RunContext) -> None:
    """Take the threads and the GPU that are this process's own."""
    if run.threads:
        torch.set_num_threads(run.threads)
    if run.device == "cuda" and run.world_size > 1:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def check_world_size(trainer: Any, run: RunContext) -> None:
    """RecbenchError where the trainer does not see the processes that were asked for."""
    found = trainer.accelerator.num_processes
    if found != run.world_size:
        raise RecbenchError(
            f"the trainer runs {found} processes, not the {run.world_size} that were asked for",
            why="it would train on batches of another size",
        )


class StopWhenAsked(TrainerCallback):  # type: ignore[misc]  # transformers ships no types here
    """Ends training after a checkpoint when the file `stop` is there, in all processes at the same step."""

    def __init__(self, stop: Path | None) -> None:
        self._stop = stop
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        if self._stop is None or state.global_step >= state.max_steps:
            return
        asked = self._stop.exists()
        if args.world_size > 1:
            every = torch.tensor([float(asked)], device=args.device)
            torch.distributed.all_reduce(every, op=torch.distributed.ReduceOp.MAX)
            asked = bool(every.item())
        if asked:
            self.stopped = control.should_save = control.should_training_stop = True

    def raise_if_stopped(self) -> None:
        if self.stopped:
            raise Stopped
