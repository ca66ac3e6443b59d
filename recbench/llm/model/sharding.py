"""Shard weights over the processes (FSDP), for a backbone whose optimiser does not fit on a single GPU.

Only training is sharded. Before and after a stage every process has the whole weights, so that scoring,
ranking and saving work as without sharding: a GPU must fit the weights, but not their gradients and moments
as well.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from recbench.errors import UsageError
from recbench.llm.model.policy import Policy
from recbench.llm.model.pretrained import pretrained_model
from recbench.method import RunContext
from recbench.settings import TrainSettings


def sharding_options(settings: TrainSettings, run: RunContext) -> dict[str, Any]:
    """The `transformers.TrainingArguments` for sharding; none if a process has all weights."""
    if settings.sharding == "none" or run.world_size == 1:
        return {}
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "state_dict_type": "FULL_STATE_DICT",
        },
        # otherwise each process would keep whole gradients while micro-batches add up
        "accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}},
    }


def prepare_sharding(trainer: Any) -> None:
    """Keep weights and gradients in fp32; the trainer's autocast decides the precision, as without sharding.

    Raises UsageError if sharding was requested and the trainer does not shard; it would not say so itself.
    """
    if not trainer.args.fsdp:
        return
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy()
    else:
        raise UsageError(
            "the trainer cannot shard weights here",
            why="accelerate offers FSDP on GPUs only",
            fix="--set train.sharding=none",
        )


def make_whole(policy: Policy, trainer: Any, folder: Path, run: RunContext) -> None:
    """Give every process the whole trained weights again, through a file that the first process writes.

    All processes call it together, after the objective has left the model.
    """
    if not trainer.args.fsdp:
        return
    trainer.save_model(str(folder))
    trainer.accelerator.wait_for_everyone()
    # free the shards and their moments before the whole weights are loaded
    policy.model = trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
    trainer.callback_handler.model = trainer.callback_handler.optimizer = None
    trainer.accelerator.free_memory()
    policy.model = pretrained_model(folder, precision="fp32", device=run.device)
    if policy.inputs is not None:
        _gather(policy.inputs)
        policy.inputs.attach(policy.model)
    trainer.accelerator.wait_for_everyone()
    if run.main:
        shutil.rmtree(folder)


def _gather(module: nn.Module) -> None:
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if isinstance(weight.data, DTensor):
                part.register_parameter(name, nn.Parameter(weight.data.full_tensor()))
