"""Which weights a stage ends with: those of its best evaluation, also after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import TrainerCallback

from recbench.base.progress import Silent
from recbench.data import Examples, Requests, TrainingData
from recbench.errors import UsageError
from recbench.llm.decoding.validation import drawn, gains, validator
from recbench.llm.model import policy as policies
from recbench.llm.model.policy import Policy
from recbench.llm.training.examples import next_item
from recbench.llm.training.likelihood import TokenCrossEntropy
from recbench.llm.training.selection import Selected, evaluation_steps
from recbench.llm.training.trainer import train
from recbench.method import LLMRun, ParentFit, Stopped
from recbench.planning import registry
from recbench.settings import SELECTION_USERS, BeamRanker, LLMSettings, TrainSettings
from recbench.testing import tiny_settings, toy_data, toy_run

MIDDLE = [0.1, 0.2, 0.4, 0.3, 0.35]
DATA = toy_data()


def settings(**train: object) -> LLMSettings:
    """Four epochs of five steps each: 20 steps, evaluated after 4, 8, 12, 16 and 20."""
    options: dict[str, Any] = {"epochs": 4.0, "batch": 8, "select": "best", "pack": "user", **train}
    return tiny_settings(**options)


class Counting(Silent):
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.curve: list[dict[str, Any]] = []

    def count(self, **values: int) -> None:
        for name, value in values.items():
            self.counts[name] = self.counts.get(name, 0) + value

    def log(self, **values: Any) -> None:
        self.curve.append(values)


class Script:
    """Gives the values of a list, one an evaluation, and remembers the weights that it was asked about."""

    def __init__(self, policy: Policy, values: list[float], start: int = 0) -> None:
        self.policy, self.values, self.done = policy, values, start
        self.seen: dict[int, dict[str, Tensor]] = {}
        policy.validate = self

    def __call__(self) -> tuple[float, int]:
        self.seen[self.done] = {name: tensor.clone() for name, tensor in weights_of(self.policy).items()}
        self.done += 1
        return self.values[self.done - 1], 7


def weights_of(policy: Policy) -> dict[str, Tensor]:
    found: dict[str, Tensor] = policy.model.state_dict()
    return {name: tensor for name, tensor in found.items() if "recbench_extra" not in name}


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


def trained(run: LLMRun, script: list[float] | None, *, start: int = 0, **options: Any) -> tuple[Policy, Any]:
    policy = policies.start(DATA, run)
    seen = None if script is None else Script(policy, script, start)
    rows = next_item(policy.prompts, DATA, run).rows[:40]
    train(policy, rows, TokenCrossEntropy(), settings=run.llm.train, run=run, **options)
    return policy, seen


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(20, [4, 8, 12, 16, 20]), (7, [2, 3, 5, 6, 7]), (5, [1, 2, 3, 4, 5]), (3, [1, 2, 3]), (1, [1])],
)
def test_a_stage_is_evaluated_five_times_and_after_its_last_step(steps: int, expected: list[int]) -> None:
    assert evaluation_steps(steps) == expected


def test_the_first_of_equal_evaluations_is_kept() -> None:
    one = Selected(steps=[4, 8, 12], ndcg_at_10=[0.1, 0.3, 0.3])
    assert (one.kept, one.since_best) == (8, 1)
    assert Selected().since_best == 0


def test_a_best_evaluation_in_the_middle_is_what_the_policy_ends_with(tmp_path: Path) -> None:
    report = Counting()
    run = replace(toy_run(tmp_path / "fit", llm=settings()), report=report)
    policy, script = trained(run, MIDDLE)
    assert script.done == 5
    assert_equal(weights_of(policy), script.seen[2])
    assert any(not torch.equal(tensor, script.seen[4][name]) for name, tensor in weights_of(policy).items())
    assert policy.selected["training"].kept == 12
    assert [(point["step"], point["valid_ndcg_at_10"]) for point in report.curve if len(point) == 2] == [
        *zip([4, 8, 12, 16, 20], MIDDLE, strict=True)
    ]
    # all steps were taken and count; so does what the evaluations wrote
    assert report.counts["steps"] == 20
    assert report.counts["generated_tokens"] == 35


def test_evaluations_do_not_disturb_the_training(tmp_path: Path) -> None:
    """The weights after the last step are those of a training without evaluations."""
    plain, _ = trained(toy_run(tmp_path / "last", llm=settings(select="last")), None)
    run = toy_run(tmp_path / "best", llm=settings())
    policy = policies.start(DATA, run)
    evaluate = validator(policy, DATA, run)
    assert evaluate is not None
    done = []

    def rising() -> tuple[float, int]:
        done.append(evaluate())
        return float(len(done)), 0  # the last is the best

    policy.validate = rising
    rows = next_item(policy.prompts, DATA, run).rows[:40]
    train(policy, rows, TokenCrossEntropy(), settings=run.llm.train, run=run)
    assert_equal(weights_of(policy), weights_of(plain))


class StopAt(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        del args, control, kwargs
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("step", "evaluated"), [pytest.param(6, 1, marks=pytest.mark.slow), (14, 3)])
def test_an_interrupted_stage_keeps_the_same_weights(step: int, evaluated: int, tmp_path: Path) -> None:
    """Checkpoints are after steps 4, 8, 12, 16 and 20; the best evaluation is on either side of the stop."""
    llm, values = settings(checkpoints=5), [0.5, 0.2, 0.6, 0.3, 0.35]
    whole, _ = trained(toy_run(tmp_path / "whole", llm=llm), values)
    report = Counting()
    run = replace(toy_run(tmp_path / "stopped", llm=llm), report=report)
    with pytest.raises(KeyboardInterrupt):
        trained(run, values, callbacks=[StopAt(step)])
    policy, script = trained(run, values, start=evaluated)
    assert script.done == 5
    assert len(script.seen) == 5 - evaluated
    assert_equal(weights_of(policy), weights_of(whole))
    assert policy.selected["training"].ndcg_at_10 == values
    assert report.counts["steps"] == 20


@pytest.mark.parametrize("again", [False, True])
def test_patience_ends_a_stage_and_tokens_count_to_there(again: bool, tmp_path: Path) -> None:
    values = [0.1, 0.4, 0.3, 0.2, 0.9]
    full, report = Counting(), Counting()
    trained(replace(toy_run(tmp_path / "full", llm=settings()), report=full), values)
    run = replace(toy_run(tmp_path / "fit", llm=settings(patience=2)), report=report)
    policy, script = trained(run, values)
    assert (script.done, policy.selected["training"].kept) == (4, 8)
    assert_equal(weights_of(policy), script.seen[1])
    if again:  # as a method of several stages does, whose later stage was interrupted
        report.counts.clear()
        resumed, nothing = trained(run, values)
        assert nothing.done == 0
        assert_equal(weights_of(resumed), script.seen[1])
    assert report.counts["steps"] == 16
    assert report.counts["trained_tokens"] < full.counts["trained_tokens"]
    assert report.counts["trained_tokens"] == pytest.approx(0.8 * full.counts["trained_tokens"], rel=0.1)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"patience": 2}, "patience goes with select=best"),
        ({"patience": 2, "select": "best", "budget_epochs": 3.0}, "budget of tokens"),
        ({"select": "best", "sharding": "fsdp", "lora_rank": 0}, "needs whole weights"),
    ],
)
def test_settings_that_contradict_are_refused(values: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        TrainSettings(**values)


def test_a_policy_that_nobody_can_evaluate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no validation requests") as caught:
        trained(toy_run(tmp_path / "fit", llm=settings()), None)
    assert caught.value.fix == "--set train.select=last"


# ---- the evaluation itself


def test_gains_are_ndcg_of_one_relevant_item() -> None:
    found = gains(np.array([[3, 1, 2], [3, 1, 2], [3, 1, -1]]), np.array([3, 2, 7]))
    assert found.tolist() == [1.0, 0.5, 0.0]


def test_the_draw_is_fixed_sorted_and_at_most_two_thousand() -> None:
    assert drawn(943).tolist() == list(range(943))
    many = drawn(30_000)
    assert len(set(many.tolist())) == SELECTION_USERS
    assert (np.diff(many) > 0).all()
    assert many.tolist() == drawn(30_000).tolist()


@pytest.mark.parametrize("ranker", [None, BeamRanker(width=4)])
def test_the_value_is_that_of_the_ranking_that_the_run_would_make(ranker: Any, tmp_path: Path) -> None:
    llm = settings(select="last")
    llm = llm if ranker is None else replace(llm, ranker=ranker)
    run = toy_run(tmp_path / "fit", llm=llm)
    method = registry.load("sft").build({})
    method.fit(DATA, run=run)
    method.load(DATA, run=run)
    items = method.rank(DATA.valid.requests, k=10).items
    policy = policies.restore(DATA, run)
    policy.model.train()
    validate = validator(policy, DATA, run)
    assert validate is not None
    value, generated = validate()
    assert value == pytest.approx(gains(items, DATA.valid.target).mean())
    assert generated == 0
    assert policy.model.training  # as it was


@pytest.mark.parametrize(
    ("tied", "precision"), [pytest.param(True, "fp32", marks=pytest.mark.slow), (False, "bf16")]
)
def test_an_adapter_is_evaluated_and_kept_like_whole_weights(
    tied: bool, precision: str, save_backbone: Callable[..., str], tmp_path: Path
) -> None:
    llm = settings(backbone=save_backbone(tied=tied), lora_rank=4, lora_dropout=0.1, precision=precision)
    run = toy_run(tmp_path / "fit", llm=llm)
    policy = policies.start(DATA, run)
    evaluate = validator(policy, DATA, run)
    assert evaluate is not None
    kept: list[dict[str, Tensor]] = []

    def middle() -> tuple[float, int]:
        evaluate()
        kept.append({name: tensor.clone() for name, tensor in weights_of(policy).items()})
        return MIDDLE[len(kept) - 1], 0

    policy.validate = middle
    rows = next_item(policy.prompts, DATA, run).rows[:40]
    train(policy, rows, TokenCrossEntropy(), settings=llm.train, run=run)
    assert_equal(weights_of(policy), kept[2])
    changed = [name for name, tensor in kept[2].items() if not torch.equal(tensor, kept[4][name])]
    assert any("lora_A" in name for name in changed)
    assert not any("base_layer.weight" in name for name in changed)  # the backbone's own
    best = load_file(run.workdir / "checkpoints-training" / "checkpoint-20" / "best.safetensors")
    assert sum(tensor.numel() for tensor in best.values()) == policy.num_parameters["trainable"]


# ---- whole fits


def fitted(name: str, run: LLMRun, data: TrainingData = DATA, **values: object) -> dict[str, Tensor]:
    method = registry.load(name).build(values)
    method.fit(data, run=run)
    return weights_of(policies.restore(data, run))


def selection_of(run: LLMRun) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.workdir / "facts.json").read_text())["selection"]
    return found


def parent_of(folder: Path, llm: LLMSettings) -> ParentFit:
    run = toy_run(folder / "parent", llm=replace(llm, train=replace(llm.train, select="last")))
    fitted("sft", run)
    return ParentFit(id="parent", workdir=run.workdir, trained_tokens=0, llm=run.llm)


@pytest.mark.parametrize("name", ["sft", "ilrec", "sdpo"])
def test_a_fit_records_its_evaluations_and_the_one_it_kept(name: str, tmp_path: Path) -> None:
    run = toy_run(tmp_path / "fit", llm=settings(epochs=2.0, batch=16))
    if name == "sdpo":
        run = replace(run, parent=parent_of(tmp_path, run.llm))
    values: dict[str, Any] = {"k": 1, "mu": 0.0} if name == "ilrec" else {}
    fitted(name, run, **values)
    (stage,) = selection_of(run).values()
    assert stage["kept"] == stage["steps"][int(np.argmax(stage["ndcg_at_10"]))]
    assert stage["seconds"] > 0
    # what is saved ranks as well as the evaluation that was kept
    policy = policies.restore(DATA, run)
    validate = validator(policy, DATA, run)
    assert validate is not None
    assert validate()[0] == pytest.approx(max(stage["ndcg_at_10"]), abs=1e-6)


@pytest.mark.slow
def test_each_stage_of_self_play_is_selected(tmp_path: Path) -> None:
    llm = settings(epochs=1.0, batch=16)
    run = replace(toy_run(tmp_path / "fit", llm=llm), parent=parent_of(tmp_path, llm))
    fitted("sprec", run, iterations=2)
    assert set(selection_of(run)) == {"sft-0", "dpo-0", "sft-1", "dpo-1"}


def test_only_validation_targets_choose(tmp_path: Path) -> None:
    """Other targets may choose other weights, but only among the same ones."""
    other = replace(DATA, valid=replace(DATA.valid, target=(DATA.valid.target + 7) % 30))
    runs = [toy_run(tmp_path / name, llm=settings()) for name in ("a", "b", "last")]
    fitted("sft", runs[0])
    fitted("sft", runs[1], other)
    steps = [selection_of(run)["training"]["steps"] for run in runs[:2]]
    assert steps[0] == steps[1]
    assert selection_of(runs[0])["training"]["ndcg_at_10"] != selection_of(runs[1])["training"]["ndcg_at_10"]


def test_a_split_without_validation_requests_is_refused(tmp_path: Path) -> None:
    nobody = np.zeros(0, dtype=np.int64)
    none = Requests(user=nobody, history=DATA.valid.requests.history.take(nobody))
    data = replace(DATA, valid=Examples(requests=none, target=nobody))
    with pytest.raises(UsageError, match="no validation requests"):
        fitted("sft", toy_run(tmp_path / "fit", llm=settings()), data)


def test_a_fit_that_is_asked_to_stop_continues_to_the_same_choice(tmp_path: Path) -> None:
    whole = fitted("sft", toy_run(tmp_path / "whole", llm=settings(epochs=1.0)))
    run = toy_run(tmp_path / "stopped", llm=settings(epochs=1.0))
    asked = tmp_path / "stop"
    asked.touch()
    while True:  # it stops after every step
        try:
            again = fitted("sft", replace(run, stop=asked))
            break
        except Stopped:
            continue
    assert_equal(whole, again)
    assert selection_of(run)["training"]["ndcg_at_10"]
