"""The processes that share a fit or a ranking: their threads and GPUs, and their number."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from recbench.errors import RecbenchError
from recbench.method import RunContext


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
