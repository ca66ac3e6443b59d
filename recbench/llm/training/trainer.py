"""The training loop: `trl.SFTTrainer` with our batches, our loss, and its defaults made explicit."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from trl import SFTConfig, SFTTrainer

from datasets import Dataset
from recbench.base.progress import Reporter
from recbench.errors import RecbenchError, UsageError
from recbench.llm.causal_lm import base_causal_lm
from recbench.llm.model.hybrid import hybrid_probability
from recbench.llm.model.policy import Policy
from recbench.llm.model.processes import check_world_size
from recbench.llm.model.sharding import make_whole, prepare_sharding, sharding_options
from recbench.llm.model.stop import StopWhenAsked
from recbench.llm.training.batch import by_length, collate
from recbench.llm.training.forward import EXTRA, LossOutput, Objective, objective_attached
from recbench.llm.training.made import MadeBatches, MadeRows
from recbench.llm.training.pack import Row, num_tokens
from recbench.llm.training.selection import KeepBest
from recbench.method import RunContext
from recbench.settings import TrainSettings

LOGS_A_STAGE = 50
SEEN, EXTRA_WEIGHTS = "seen.json", "extra.pt"
"""What a checkpoint has beside transformers' files: the cost so far, and the objective's own modules."""
COUNTED = ("trained_tokens", "supervised_tokens", "forward_tokens")
"""The cost of a stage: tokens that pass forward and backward, those of them that are predicted, and those
that are only read, to make rows."""
MARKER = "COMPLETE"
"""Written last into a checkpoint; a checkpoint without it is incomplete."""


def train(
    policy: Policy,
    rows: Sequence[Row] | MadeRows,
    objective: Objective,
    *,
    settings: TrainSettings,
    run: RunContext,
    stage: str = "training",
    share: float = 1.0,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Minimise `objective` over `rows`, in place, and report curve, progress and cost.

    `rows` may be made while the policy trains. The stage lasts `settings.epochs` or, if the run has a token
    budget, this `share` of the budget.
    `callbacks` are those of transformers, for what a method does between steps or epochs. Training resumes
    from the last checkpoint of the same stage in `run.workdir`. Under `torchrun` every process calls this
    function with the same arguments. Raises UsageError if there is no row, RecbenchError if the loss is not
    finite. With `select=best` the policy ends with the weights that ranked validation best, and the tokens
    count to where the stage ended.
    """
    if not rows:
        raise UsageError(f"no example is left for the stage '{stage}'", why="every example was dropped")
    folder = run.workdir / f"checkpoints-{stage}"
    budget = None if run.token_budget is None else share * run.token_budget
    with objective_attached(policy.model, objective, policy.inputs):
        steps = num_steps(settings, rows, budget)
        config = _config(settings, folder, steps, run, idle_weights=policy.inputs is not None)
        best = None
        if settings.select == "best":
            best = KeepBest(policy, settings, steps=steps, report=run.report)
        trainer = PolicyTrainer(policy, rows, objective, config, run.report, best=best)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Progress(run.report, stage))
        making = [] if trainer.made is None else [trainer.made]
        stopping = StopWhenAsked(run.stop, ready=lambda: all(made.between for made in making))
        for callback in (*callbacks, *([best] if best is not None else []), stopping, *making):
            trainer.add_callback(callback)
        check_world_size(trainer, run)
        prepare_sharding(trainer)
        trainer.train_from(newest_checkpoint(folder))
        trainer.accelerator.wait_for_everyone()  # no process deletes files that another still writes
        stopping.raise_if_stopped()
        if best is not None:
            best.restore()
            policy.selected[stage] = best.selected
            if best.selected.generated_tokens:
                run.report.count(generated_tokens=best.selected.generated_tokens)
    make_whole(policy, trainer, run.workdir / f"whole-{stage}", run)
    if policy.inputs is not None:
        policy.inputs.text_only = False
    run.report.count(steps=trainer.state.global_step, **trainer.seen)


def num_steps(settings: TrainSettings, rows: Sequence[Row] | MadeRows, budget: float | None = None) -> int:
    """Optimiser steps of a stage: those of `settings.epochs`, or the number nearest to `budget` tokens.

    The last step of an epoch may have fewer rows.
    """
    per_epoch = math.ceil(len(rows) / settings.batch)
    if budget is None:
        return math.ceil(settings.epochs * per_epoch)
    tokens = rows.num_tokens() if isinstance(rows, MadeRows) else num_tokens(rows)
    return max(1, round(budget * per_epoch / tokens))


def rows_of_a_pass(rows: int, most: int) -> int:
    """The rows of each forward pass over a step's `rows`: the largest number up to `most` that divides them,
    all where `most` is 0."""
    return next(size for size in range(min(most or rows, rows), 0, -1) if rows % size == 0)


def newest_checkpoint(folder: Path) -> str | None:
    """The latest complete checkpoint in `folder`, or None."""
    complete = [marker.parent for marker in folder.glob(f"checkpoint-*/{MARKER}")]
    newest = max(complete, key=lambda path: int(path.name.partition("-")[2]), default=None)
    return None if newest is None else str(newest)


def _not_finite(loss: float, step: int) -> RecbenchError:
    if step == 0:
        return RecbenchError(
            f"the loss is {loss} before any step",
            why="it is so with the weights that training starts from: the loss itself gives it",
        )
    return RecbenchError(
        f"the loss became {loss} at step {step}",
        why="a learning rate too high for this backbone is the usual cause",
        fix="--set train.lr=<a third of it>",
    )


def _config(
    settings: TrainSettings, folder: Path, steps: int, run: RunContext, *, idle_weights: bool
) -> SFTConfig:
    each = settings.batch // run.world_size
    if settings.batch % run.world_size:
        raise UsageError(
            f"a batch of {settings.batch} rows does not divide by {run.world_size} processes",
            fix=f"--set train.batch={max(1, each) * run.world_size}",
        )
    micro = rows_of_a_pass(each, settings.micro_batch)
    return SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=each // micro,
        learning_rate=settings.lr,
        weight_decay=settings.weight_decay,
        warmup_steps=round(settings.warmup * steps),
        lr_scheduler_type=settings.schedule,
        max_grad_norm=settings.max_grad_norm,
        bf16=settings.precision == "bf16",
        fp16=False,
        gradient_checkpointing=settings.gradient_checkpointing,
        optim="adamw_torch_fused",
        seed=run.child_seed("dropout"),
        data_seed=run.child_seed("order"),
        use_cpu=run.device == "cpu",
        save_strategy="steps",
        save_steps=max(1, math.ceil(steps / max(1, settings.checkpoints))),
        save_total_limit=2,  # an interrupted save must not be the only checkpoint left
        logging_strategy="steps",
        logging_steps=max(1, steps // LOGS_A_STAGE),
        report_to=[],
        disable_tqdm=True,
        # trl would otherwise drop our columns, tokenise again, and cut responses to max_length
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=run.device != "cpu",
        ddp_find_unused_parameters=idle_weights,
        **sharding_options(settings, run),
    )


class PolicyTrainer(SFTTrainer):  # type: ignore[misc]  # mypy skips trl
    """transformers' training loop over packed rows, with the objective inside the model's forward pass."""

    loss_is_scaled_for_ga = True  # compute_loss divides by the units of the whole step, for every model

    def __init__(
        self,
        policy: Policy,
        rows: Sequence[Row] | MadeRows,
        objective: Objective,
        config: SFTConfig,
        report: Reporter,
        *,
        best: KeepBest | None = None,
    ) -> None:
        self.objective = objective
        self.best = best
        self.report = report
        self.inputs = policy.inputs
        self.terms: dict[str, list[Tensor]] = defaultdict(list)
        self.seen = dict.fromkeys(COUNTED, 0)
        self.rows: Sequence[Row] = () if isinstance(rows, MadeRows) else rows
        self.pad = policy.tokenizer.pad_token_id
        self.made = MadeBatches(rows, pad=self.pad) if isinstance(rows, MadeRows) else None
        super().__init__(
            model=policy.model,
            args=config,
            train_dataset=Dataset.from_dict({"row": list(range(len(rows)))}),
            data_collator=_numbers,
            processing_class=policy.tokenizer,
        )

    def train_from(self, checkpoint: str | None) -> None:
        """Train to the end, from the checkpoint if there is one; one that patience ended is at its end."""
        if checkpoint is not None and self.best is not None:
            self.best.load(Path(checkpoint))
            if self.best.ended:
                self.state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
                self.seen = json.loads((Path(checkpoint) / SEEN).read_text())
                return
        self.train(resume_from_checkpoint=checkpoint)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor]:
        """The batches of the next optimiser step, collated now, of rows made by the policy if they are."""
        if self.made is not None:
            step, steps = self.state.global_step, self.state.max_steps
            epoch_iterator = self.made.batches(epoch_iterator, num_batches, step=step, steps=steps)
        else:
            epoch_iterator = self._batches(epoch_iterator, num_batches)
        found: tuple[list[dict[str, Any]], Tensor] = super().get_batch_samples(
            epoch_iterator, num_batches, device
        )
        return found

    def _batches(self, numbered: Iterator[dict[str, list[int]]], count: int) -> Iterator[dict[str, Any]]:
        batches = [[self.rows[row] for row in batch["rows"]] for batch in islice(numbered, count)]
        for batch in by_length(batches):
            yield collate(batch, pad=self.pad)

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> Tensor:
        """[G] units of each part of the loss in the whole optimiser step, over all its forward passes."""
        supervisions = [batch["supervision"] for batch in batch_samples]
        counts = [
            sum(batch["num_tokens"] for batch in batch_samples),
            sum(len(supervision.label) for supervision in supervisions),
            0 if self.made is None else self.made.take_read(),
            *np.sum([self.objective.units(supervision) for supervision in supervisions], axis=0).tolist(),
        ]
        sums = torch.tensor(counts, dtype=torch.float64, device=device)  # counts stay exact
        totals: Tensor = self.accelerator.reduce(sums, "sum")
        for name, total in zip(COUNTED, totals.tolist(), strict=False):
            self.seen[name] += int(total)
        return totals[len(COUNTED) :]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        inputs = dict(inputs)
        inputs.pop("num_tokens")
        supervision = inputs.pop("supervision").to(inputs["input_ids"].device)
        self._set_curriculum()
        # accelerate wraps every model in autocast, except a sharded one
        kind = supervision.label.device.type
        with (
            torch.autocast(kind, torch.bfloat16) if self.args.bf16 and self.is_fsdp_enabled else nullcontext()
        ):
            output: LossOutput = model(**inputs, objective=self.objective, supervision=supervision)
        if not torch.isfinite(output.loss):
            raise _not_finite(output.loss.item(), self.state.global_step)
        for name, value in output.terms.items():
            self.terms[name].append(value.detach())
        loss = output.loss
        if num_items_in_batch is not None:
            units = torch.tensor(self.objective.units(supervision), device=loss.device)
            if len(units) != len(output.parts):
                raise UsageError(
                    f"the objective gives {len(output.parts)} losses and counts the units of {len(units)}",
                    why="each loss is a mean over as many units",
                    fix="one scalar loss for each count that `units` returns",
                )
            share = units / torch.where(num_items_in_batch > 0, num_items_in_batch, 1.0).to(units)
            # data parallelism averages gradients over processes; the shares of all of them sum to 1
            loss = (output.parts * share).sum() * self.accelerator.num_processes
        return (loss, output) if return_outputs else loss

    def _set_curriculum(self) -> None:
        """LLaRA's curriculum: a step shows collaborative vectors with a probability that rises to 1."""
        if self.inputs is not None and self.inputs.untrained:
            step = self.state.global_step
            draw = np.random.default_rng([self.args.data_seed, step]).random()
            self.inputs.text_only = draw >= hybrid_probability(step, self.state.max_steps)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        means = {name: float(torch.stack(values).float().mean()) for name, values in self.terms.items()}
        self.terms.clear()
        if "loss" in logs:
            self.report.log(step=self.state.global_step, lr=logs.get("learning_rate", 0.0), **means)
        super().log(logs, start_time)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Add the files that transformers does not write, and `MARKER` last."""
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # each process has its own part of a checkpoint
        if not self.args.should_save:
            return
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        (folder / SEEN).write_text(json.dumps(self.seen))
        if self.best is not None:
            self.best.save(folder)
        if self.made is not None:
            self.made.source.save(folder)
        if not self.is_fsdp_enabled:  # FSDP writes every module attached to the model
            torch.save(getattr(base_causal_lm(self.model), EXTRA).state_dict(), folder / EXTRA_WEIGHTS)
        (folder / MARKER).touch()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        folder = Path(resume_from_checkpoint)
        self.seen = json.loads((folder / SEEN).read_text())
        if self.made is not None:
            self.made.source.load(folder)
        if not self.is_fsdp_enabled:
            # not where they were saved: that is the first GPU for every process
            extra = torch.load(folder / EXTRA_WEIGHTS, map_location="cpu", weights_only=True)
            getattr(base_causal_lm(self.model), EXTRA).load_state_dict(extra)

    def create_model_card(self, *_args: Any, **_kwargs: Any) -> None:
        """Write none: a checkpoint of a fit is not published."""


def _numbers(entries: list[dict[str, int]]) -> dict[str, list[int]]:
    """A batch as it is read ahead of the steps before it: too early to be made, and apart from its step's."""
    return {"rows": [entry["row"] for entry in entries]}


class _Progress(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    def __init__(self, report: Reporter, stage: str) -> None:
        self.report, self.stage = report, stage

    def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        del args, control
        self.report.progress(self.stage, state.global_step, state.max_steps)
