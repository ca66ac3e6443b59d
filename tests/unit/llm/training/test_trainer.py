"""The training loop: steps, cost, checkpoints and resumption, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from datasets import Dataset
from recbench.errors import RecbenchError, UsageError
from recbench.llm.model import policy as policies
from recbench.llm.model.policy import Policy
from recbench.llm.training.batch import Supervision, collate
from recbench.llm.training.examples import next_item
from recbench.llm.training.forward import LossOutput, objective_attached
from recbench.llm.training.likelihood import TokenCrossEntropy
from recbench.llm.training.pack import Row, prefix_tree
from recbench.llm.training.trainer import MARKER, newest_checkpoint, num_steps, rows_of_a_pass, train
from recbench.method import LLMRun, Stopped
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec, ILRecObjective


def make_policy(run: LLMRun) -> Policy:
    return policies.start(toy_data(), run)


def unequal_rows(count: int) -> list[Row]:
    """Rows of one example each, with prompts and responses of different lengths."""
    return [
        prefix_tree([([1, *range(5, 6 + index), *range(20, 22 + index % 4), 2], 2 + index)])
        for index in range(count)
    ]


class StopAt(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """Ends the process's training the hard way after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        del args, control, kwargs
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_sft_loss_equals_trls_own_on_the_same_batch(tmp_path: Path) -> None:
    policy = make_policy(toy_run(tmp_path / "fit", llm=tiny_settings()))
    policy.model.eval()
    examples = [([1, *range(5, 9 + index), *range(20, 23 + index), 2], 5 + index) for index in range(3)]
    batch = collate([prefix_tree([example]) for example in examples], pad=policy.tokenizer.pad_token_id)
    supervision = batch.pop("supervision")
    batch.pop("num_tokens")
    with objective_attached(policy.model, TokenCrossEntropy()), torch.no_grad():
        ours: LossOutput = policy.model(**batch, objective=TokenCrossEntropy(), supervision=supervision)

    columns = {
        "input_ids": [ids for ids, _ in examples],
        "labels": [[-100] * start + ids[start:] for ids, start in examples],
    }
    trainer = SFTTrainer(
        model=policy.model,
        args=SFTConfig(
            output_dir=str(tmp_path / "trl"),
            bf16=False,
            use_cpu=True,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            report_to=[],
        ),
        train_dataset=Dataset.from_dict(columns),
        processing_class=policy.tokenizer,
    )
    inputs = trainer.data_collator([dict(row) for row in trainer.train_dataset])
    with torch.no_grad():
        theirs = trainer.compute_loss(policy.model, inputs)
    assert float(ours.loss) == pytest.approx(float(theirs), abs=1e-5)


def test_an_interrupted_stage_continues_to_the_same_weights_and_cost(tmp_path: Path) -> None:
    llm = tiny_settings(epochs=4.0, batch=8, checkpoints=4)
    objective = ILRecObjective(ILRec(mu=0.0, phi="extra_head"), None)
    weights = {}
    for name in ("whole", "interrupted"):
        run = toy_run(tmp_path / name, llm=llm)
        rows = next_item(make_policy(run).prompts, toy_data(), run).rows
        if name == "interrupted":
            with pytest.raises(KeyboardInterrupt):
                train(make_policy(run), rows, objective, settings=llm.train, run=run, callbacks=[StopAt(12)])
        policy = make_policy(run)
        train(policy, rows, objective, settings=llm.train, run=run)
        weights[name] = policy.model.state_dict()
    for name, tensor in weights["whole"].items():
        assert torch.equal(tensor, weights["interrupted"][name]), name


class AskToStop(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """Puts the file there by which a fit is asked to stop, in the middle of a step."""

    def __init__(self, file: Path, step: int) -> None:
        self.file, self.step = file, step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        del args, control, kwargs
        if state.global_step == self.step - 1:
            self.file.touch()


def test_a_fit_that_is_asked_to_stop_saves_that_very_step_and_continues_to_the_same_weights(
    tmp_path: Path,
) -> None:
    llm = tiny_settings(epochs=4.0, batch=8, checkpoints=1)
    weights = {}
    for name in ("whole", "stopped"):
        run = toy_run(tmp_path / name, llm=llm)
        rows = next_item(make_policy(run).prompts, toy_data(), run).rows
        file = tmp_path / "stop"
        if name == "stopped":
            asked = replace(run, stop=file)
            with pytest.raises(Stopped):
                train(
                    make_policy(run),
                    rows,
                    TokenCrossEntropy(),
                    settings=llm.train,
                    run=asked,
                    callbacks=[AskToStop(file, 7)],
                )
            assert newest_checkpoint(run.workdir / "checkpoints-training") is not None
            assert [path.name for path in (run.workdir / "checkpoints-training").glob("checkpoint-*")] == [
                "checkpoint-7"
            ]
        policy = make_policy(run)
        train(policy, rows, TokenCrossEntropy(), settings=llm.train, run=run)
        weights[name] = policy.model.state_dict()
    for name, tensor in weights["whole"].items():
        assert torch.equal(tensor, weights["stopped"][name]), name


def test_a_save_that_was_interrupted_is_no_checkpoint(tmp_path: Path) -> None:
    for step, files in ((9, ("seen.json", MARKER)), (10, ("seen.json", MARKER)), (20, ("seen.json",))):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in files:
            (folder / name).touch()
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert newest_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("epochs", "rows", "steps"),
    [(4.0, 20, 12), (0.5, 20, 2), (1.0, 16, 2), (0.01, 3, 1)],  # 20 rows in batches of 8 are 3 steps
)
def test_steps_are_whole_epochs_with_a_shorter_last_step(epochs: float, rows: int, steps: int) -> None:
    assert num_steps(tiny_settings(epochs=epochs, batch=8).train, unequal_rows(rows)) == steps


@pytest.mark.parametrize(
    ("rows", "most", "size"),
    [(128, 0, 128), (128, 32, 32), (128, 48, 32), (16, 32, 16), (6, 4, 3), (7, 4, 1)],
)
def test_a_step_is_divided_into_equal_passes_of_the_most_rows_allowed(
    rows: int, most: int, size: int
) -> None:
    assert rows_of_a_pass(rows, most) == size


def test_a_budget_of_tokens_sets_the_steps_and_the_epochs_say_nothing() -> None:
    settings, rows = tiny_settings(epochs=9.0, batch=8).train, unequal_rows(16)
    tokens = sum(len(row.input_ids) for row in rows)
    assert num_steps(settings, rows, 3 * tokens) == 6
    assert num_steps(settings, rows, 0.1) == 1


def test_a_batch_that_the_processes_cannot_share_is_refused(
    tmp_path: Path,
) -> None:
    run = toy_run(tmp_path / "fit", llm=tiny_settings(batch=8))
    policy = make_policy(run)
    run = replace(run, world_size=3)
    with pytest.raises(UsageError, match="a batch of 8 rows does not divide by 3 processes"):
        train(policy, unequal_rows(4), TokenCrossEntropy(), settings=tiny_settings(batch=8).train, run=run)


@pytest.mark.parametrize("phi", ["shared", "shared_frozen", "extra_head", "norm_per_layer"])
def test_ilrec_trains_in_bf16_with_float32_losses(tmp_path: Path, phi: Any) -> None:
    seen: list[torch.dtype] = []

    class Watching(ILRecObjective):
        def __call__(
            self, logits: torch.Tensor, layer_logits: list[torch.Tensor], supervision: Supervision
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            seen.append((logits @ logits.T).dtype)
            return super().__call__(logits, layer_logits, supervision)

    llm = tiny_settings(epochs=1.0, precision="bf16")
    run = toy_run(tmp_path / "fit", llm=llm)
    train(
        make_policy(run), unequal_rows(4), Watching(ILRec(mu=0.0, phi=phi), None), settings=llm.train, run=run
    )
    assert seen == [torch.float32]


@pytest.mark.parametrize(
    ("finite_calls", "said"),
    [(0, "the loss is nan before any step"), (1, "the loss became nan at step 1")],
)
def test_a_loss_that_is_not_finite_stops_the_fit_with_its_step(
    tmp_path: Path, finite_calls: int, said: str
) -> None:
    class Diverging(TokenCrossEntropy):
        calls = 0

        def __call__(
            self, logits: torch.Tensor, layer_logits: list[torch.Tensor], supervision: Supervision
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            loss, terms = super().__call__(logits, layer_logits, supervision)
            self.calls += 1
            return loss * (1.0 if self.calls <= finite_calls else float("nan")), terms

    llm = tiny_settings(batch=2, micro_batch=2)
    run = toy_run(tmp_path / "fit", llm=llm)
    with pytest.raises(RecbenchError, match=said) as caught:
        train(make_policy(run), unequal_rows(4), Diverging(), settings=llm.train, run=run)
    assert ("train.lr" in caught.value.fix) == bool(finite_calls)  # without a step no rate has done it


def test_a_loss_for_each_row_is_no_mean_and_is_refused(tmp_path: Path) -> None:
    class Rows(TokenCrossEntropy):
        def __call__(
            self, logits: torch.Tensor, layer_logits: list[torch.Tensor], supervision: Supervision
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            loss, terms = super().__call__(logits, layer_logits, supervision)
            return loss.expand(3), terms

    run = toy_run(tmp_path / "fit", llm=tiny_settings())
    with pytest.raises(UsageError, match="gives 3 losses and counts the units of 1"):
        train(make_policy(run), unequal_rows(4), Rows(), settings=tiny_settings().train, run=run)


def test_training_leaves_the_models_own_forward_behind(tmp_path: Path) -> None:
    llm = tiny_settings(epochs=1.0)
    run = toy_run(tmp_path / "fit", llm=llm)
    policy = make_policy(run)
    train(policy, unequal_rows(4), TokenCrossEntropy(), settings=llm.train, run=run)
    assert "forward" not in vars(policy.model)
    assert not [name for name, _ in policy.model.named_modules() if "recbench" in name]
    assert policy.model(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, len(policy.tokenizer))
