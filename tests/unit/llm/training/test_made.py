"""Rows that are made while the policy trains: from which weights, how often, and after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from recbench.llm.model import policy as policies
from recbench.llm.model.policy import Policy
from recbench.llm.training.examples import next_item
from recbench.llm.training.likelihood import TokenCrossEntropy
from recbench.llm.training.made import Made, MadeRows
from recbench.llm.training.pack import Row, num_tokens, prefix_tree
from recbench.llm.training.trainer import MARKER, num_steps, train
from recbench.method import LLMRun, Stopped
from recbench.testing import tiny_settings, toy_data, toy_run
from tests.unit.llm.training.test_trainer import AskToStop, StopAt
from tests.unit.methods.conftest import Curve

DATA = toy_data(longest=10)
Weights = dict[str, torch.Tensor]
STEPS = {1: [0, 1, 2, 3, 4, 5], 2: [0, 2, 3, 5]}
"""The steps before which rows are made, in two epochs of three steps, by how many steps they serve."""


class Fixed(MadeRows):
    """The rows of an epoch as they are, whatever the weights."""

    def __init__(self, rows: Sequence[Row], refresh: int = 1) -> None:
        self.rows, self.refresh = rows, refresh
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.rows)

    def num_tokens(self) -> int:
        return num_tokens(self.rows)

    def make(self, numbers: Sequence[int], step: int) -> Made:
        self.asked.append((step, len(numbers)))
        return Made([self.rows[number] for number in numbers], num_read=10 * len(numbers))


class OwnAnswers(Fixed):
    """Each row asks for the item that the weights of the moment make likeliest after its first token."""

    def __init__(self, policy: Policy, rows: Sequence[Row], refresh: int) -> None:
        super().__init__(rows, refresh)
        self.policy = policy
        self.seen: list[float] = []

    def make(self, numbers: Sequence[int], step: int) -> Made:
        made = super().make(numbers, step)
        weight = self.policy.model.get_output_embeddings().weight.detach()
        self.seen.append(fingerprint(self.policy))
        first = int(weight.sum(1)[5:20].argmax()) + 5
        rows = [prefix_tree([([*row.input_ids.tolist(), first, step % 7 + 5], 1)]) for row in made.rows]
        return Made(rows, made.num_read)


def fingerprint(policy: Policy) -> float:
    return float(policy.model.get_output_embeddings().weight.detach().double().sum())


def start(folder: Path, **settings: Any) -> tuple[Policy, list[Row], LLMRun]:
    llm = tiny_settings(**{"epochs": 2.0, "batch": 4, "checkpoints": 4, **settings})
    run = replace(toy_run(folder, llm=llm), report=Curve())
    policy = policies.start(DATA, run)
    return policy, next_item(policy.prompts, DATA, run).rows[:10], run  # three steps, the last of two rows


def trained(policy: Policy, rows: Sequence[Row] | MadeRows, run: LLMRun, *callbacks: Any) -> Weights:
    train(policy, rows, TokenCrossEntropy(), settings=run.llm.train, run=run, callbacks=callbacks)
    return {name: weight.clone() for name, weight in policy.model.state_dict().items()}


def assert_equal(one: Weights, other: Weights) -> None:
    for name, weight in one.items():
        assert torch.equal(weight, other[name]), name


@pytest.mark.parametrize(("refresh", "micro_batch"), [(1, 0), (2, 2)])
def test_rows_made_the_same_as_fixed_ones_train_the_same(
    tmp_path: Path, refresh: int, micro_batch: int
) -> None:
    policy, rows, run = start(tmp_path / "fixed", micro_batch=micro_batch)
    fixed = trained(policy, rows, run)
    policy, _, again = start(tmp_path / "made", micro_batch=micro_batch)
    source = Fixed(rows, refresh)
    assert_equal(fixed, trained(policy, source, again))
    assert isinstance(run.report, Curve)
    assert isinstance(again.report, Curve)
    ours, theirs = again.report.counts, run.report.counts
    assert ours["trained_tokens"] == theirs["trained_tokens"]
    assert [step for step, _ in source.asked] == STEPS[refresh]
    assert sum(count for _, count in source.asked) == 20
    assert (ours["forward_tokens"], theirs["forward_tokens"]) == (200, 0)


def test_no_row_is_made_for_a_step_that_is_never_taken(tmp_path: Path) -> None:
    policy, rows, run = start(tmp_path, epochs=1.3)  # four steps, made for two at a time
    source = Fixed(rows, 2)
    trained(policy, source, run)
    assert source.asked == [(0, 8), (2, 2), (3, 4)]


def test_rows_are_made_from_the_weights_of_the_step_before(tmp_path: Path) -> None:
    policy, rows, run = start(tmp_path)
    states = [fingerprint(policy)]

    class Watch(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
        def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
            states.append(fingerprint(policy))

    source = OwnAnswers(policy, rows, refresh=2)
    trained(policy, source, run, Watch())
    assert len(set(states)) == 7
    assert source.seen == [states[step] for step in STEPS[2]]


@pytest.mark.parametrize(("refresh", "stop"), [(1, 4), (2, 7)])
def test_an_interrupted_stage_goes_on_from_where_rows_were_made(
    tmp_path: Path, refresh: int, stop: int
) -> None:
    """Of three steps of an epoch the first two share rows: a checkpoint that is due after step 1 waits."""
    settings: dict[str, Any] = {"epochs": 4.0, "checkpoints": 12}
    policy, rows, run = start(tmp_path / "whole", **settings)
    whole = trained(policy, OwnAnswers(policy, rows, refresh), run)
    policy, _, run = start(tmp_path / "interrupted", **settings)
    with pytest.raises(KeyboardInterrupt):
        trained(policy, OwnAnswers(policy, rows, refresh), run, StopAt(stop))
    kept = [int(marker.parent.name.partition("-")[2]) for marker in run.workdir.glob(f"*/*/{MARKER}")]
    assert sorted(kept) == {1: [2, 3], 2: [5, 6]}[refresh]
    policy, _, run = start(tmp_path / "interrupted", **settings)
    assert_equal(whole, trained(policy, OwnAnswers(policy, rows, refresh), run))


def test_a_stage_that_is_asked_to_stop_ends_with_the_rows_that_are_made(tmp_path: Path) -> None:
    policy, rows, run = start(tmp_path / "whole", checkpoints=1)
    whole = trained(policy, OwnAnswers(policy, rows, 2), run)
    policy, _, run = start(tmp_path / "stopped", checkpoints=1)
    stopped = replace(run, stop=tmp_path / "stop")
    with pytest.raises(Stopped):
        trained(policy, OwnAnswers(policy, rows, 2), stopped, AskToStop(tmp_path / "stop", 4))
    assert (run.workdir / "checkpoints-training" / "checkpoint-5" / MARKER).exists()
    policy, _, run = start(tmp_path / "stopped", checkpoints=1)
    assert_equal(whole, trained(policy, OwnAnswers(policy, rows, 2), run))


def test_a_budget_counts_the_tokens_that_rows_are_expected_to_have() -> None:
    class Expected(Fixed):
        def num_tokens(self) -> int:
            return 1000

    row = prefix_tree([([1, 5, 6, 2], 2)])
    assert num_steps(tiny_settings(batch=10).train, Expected([row] * 100), 2500) == 25  # of an epoch's 10
