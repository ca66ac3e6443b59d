"""The engine of the pair losses on policies that speak of items: beside trl, at the start, and its books."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from trl import DPOConfig, DPOTrainer

from datasets import Dataset
from recbench.data import Ints, TrainingData
from recbench.llm.causal_lm import base_causal_lm
from recbench.llm.losses.tokens import token_logp
from recbench.llm.model import policy as policies
from recbench.llm.model.policy import Policy
from recbench.llm.pair_method import PairMethod
from recbench.llm.signals import negatives, preference
from recbench.llm.signals.pair_rows import PreferencePairs, make_pairs, reference_logps
from recbench.llm.signals.preference import PairLoss, PairObjective
from recbench.llm.training.batch import collate
from recbench.llm.training.examples import NextItem, next_item
from recbench.llm.training.forward import LossOutput, objective_attached
from recbench.llm.training.likelihood import TokenCrossEntropy
from recbench.llm.training.scoring import logps
from recbench.method import LLMRun, ParentFit
from recbench.settings import IdentifierSettings, LLMSettings, Paradigm
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.dmpo import DMPO
from recbench_methods.dpo import DPO
from recbench_methods.rosepo import RosePO
from recbench_methods.sdpo import SDPO

SaveBackbone = Callable[..., str]
DIAGNOSTICS = {
    "chosen_logp",
    "rejected_logp",
    "margin",
    "accuracy",
    "displacement",
    "kl",
    "dropped_share",
    "negatives_popularity",
}


@pytest.fixture
def data() -> TrainingData:
    return toy_data(num_users=6, num_items=12, longest=8)


def set_up(folder: Path, data: TrainingData, llm: LLMSettings) -> tuple[LLMRun, Policy, NextItem]:
    run = toy_run(folder, llm=llm)
    policy = policies.start(data, run)
    policy.model.eval()
    return run, policy, next_item(policy.prompts, data, run)


def objective_of(
    loss: PairLoss,
    policy: Policy,
    pairs: PreferencePairs,
    run: LLMRun,
    data: TrainingData,
    *,
    sft_weight: float = 0.0,
) -> PairObjective:
    reference = reference_logps(policy, pairs, run, weights="start")
    return PairObjective(
        loss, pairs, reference, popularity=preference.percentiles(data), sft_weight=sft_weight
    )


def evaluate(policy: Policy, pairs: PreferencePairs, objective: Any, *, grad: bool = False) -> LossOutput:
    """The objective over all pairs as one batch, in evaluation mode."""
    batch = collate(pairs.rows, pad=policy.tokenizer.pad_token_id)
    supervision = batch.pop("supervision")
    batch.pop("num_tokens")
    with objective_attached(policy.model, objective), torch.set_grad_enabled(grad):
        output: LossOutput = policy.model(**batch, objective=objective, supervision=supervision)
    return output


def perturb(policy: Policy, *, by: float = 0.3) -> None:
    """Move every trainable weight, so that the policy is nats away from where it started."""
    generator = torch.Generator().manual_seed(3)
    for weight in policy.model.parameters():
        if weight.requires_grad:
            weight.data += by * torch.randn(weight.shape, generator=generator)


@pytest.fixture(params=[("title", 4), ("title", 0), ("semantic-id", 0)])
def moved(
    request: pytest.FixtureRequest, tmp_path: Path, save_backbone: SaveBackbone, data: TrainingData
) -> Any:
    """A policy away from its reference, its pairs as our engine and as trl's trainer take them.

    trl's fused output head cannot read the trainable rows of added tokens, so LoRA is held to it on titles.
    """
    paradigm, rank = request.param
    llm = tiny_settings(backbone=save_backbone(architecture="llama"), paradigm=paradigm, lora_rank=rank)
    run, policy, examples = set_up(tmp_path / "fit", data, llm)
    rejected = negatives.uniform(examples, policy.trie.leaf, 1, key=0)
    pairs = make_pairs(policy, examples, rejected)
    reference = base_causal_lm(deepcopy(policy.model))  # LoRA starts as the base model
    first = objective_of(DPO().loss, policy, pairs, run, data)
    perturb(policy)
    return policy, pairs, first, reference, triples(policy, examples, rejected)


def triples(policy: Policy, examples: NextItem, rejected: Ints) -> list[dict[str, list[int]]]:
    return [
        {
            "prompt_ids": policy.prompts.prompt(history.tolist()),
            "chosen_ids": policy.prompts.response(int(target)),
            "rejected_ids": policy.prompts.response(int(other)),
        }
        for history, target, (other,) in zip(examples.history, examples.target, rejected, strict=True)
    ]


def test_the_engines_losses_equal_trls_on_a_batch_of_the_same_ids(tmp_path: Path, moved: Any) -> None:
    policy, pairs, objective, reference, same_ids = moved
    ours = {}
    for name, loss in (
        ("sigmoid", DPO(beta=1.0).loss),
        ("robust", RosePO(beta=1.0, form="robust", smoothing="constant", epsilon=0.2).loss),
    ):
        objective.loss = loss
        ours[name] = float(evaluate(policy, pairs, objective).loss)
    assert abs(ours["sigmoid"] - math.log(2)) > 0.01
    trainer = DPOTrainer(
        model=policy.model,
        ref_model=reference,
        args=DPOConfig(
            output_dir=str(tmp_path / "trl"),
            beta=1.0,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            max_length=None,
            report_to=[],
        ),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=policy.tokenizer,
    )
    batch = trainer.data_collator(same_ids)
    for kind, smoothing in (("sigmoid", 0.0), ("robust", 0.2)):
        trainer.loss_types, trainer.label_smoothing = [kind], smoothing
        theirs = trainer.compute_loss(trainer.model.eval(), batch)
        assert ours[kind] == pytest.approx(theirs.item(), abs=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_loss_at_the_start_is_its_value_without_preference_with_trainable_rows_of_codes(
    tmp_path: Path, save_backbone: SaveBackbone, data: TrainingData, tied: bool
) -> None:
    llm = tiny_settings(backbone=save_backbone(tied=tied), lora_rank=4, lora_dropout=0.5)
    run, policy, examples = set_up(tmp_path / "fit", data, llm)
    trainable = [name for name, weight in policy.model.named_parameters() if weight.requires_grad]
    assert any("trainable_tokens" in name for name in trainable)
    rejected = negatives.uniform(examples, policy.trie.leaf, 3, key=0)
    for loss, columns, expected in (
        (DPO().loss, rejected[:, :1], math.log(2)),
        (RosePO(smoothing="constant", epsilon=0.3).loss, rejected[:, :1], math.log(2)),
        (DMPO().loss, rejected, math.log(2)),
        (SDPO().loss, rejected, math.log(1 + 3)),
    ):
        pairs = make_pairs(policy, examples, columns)
        output = evaluate(policy, pairs, objective_of(loss, policy, pairs, run, data))
        assert float(output.loss) == pytest.approx(expected, abs=1e-6)
        for name in ("margin", "displacement", "kl"):
            assert float(output.terms[name]) == pytest.approx(0.0, abs=1e-5)


def test_a_negative_that_reads_like_the_target_and_an_example_without_negatives_are_left_out(
    tmp_path: Path, data: TrainingData
) -> None:
    catalogue = data.catalogue
    twins = replace(catalogue, titles=(catalogue.titles[1], *catalogue.titles[1:]))  # items 0 and 1
    twins = replace(twins, categories=(catalogue.categories[1], *catalogue.categories[1:]))
    data = replace(data, catalogue=twins, digests=dict.fromkeys(data.digests, "twins"))
    llm = tiny_settings(pack="none")
    llm = replace(
        llm, identifiers=IdentifierSettings(codes=8, levels=3, embedding="tfidf", collisions="share")
    )
    _, policy, examples = set_up(tmp_path / "fit", data, llm)
    assert policy.prompts.response(0) == policy.prompts.response(1)
    target = np.full(len(examples), 5)
    target[0] = 0
    examples = replace(examples, target=target)
    rejected = np.full((len(examples), 2), -1)
    rejected[0] = [1, 7]  # item 1 reads like the target, 7 does not
    rejected[1] = [5, 5]  # the target itself, twice
    rejected[2] = [-1, 3]
    rejected[3] = [3, 4]
    pairs = make_pairs(policy, examples, rejected)
    assert pairs.rejected[:4].tolist() == [[7, -1], [-1, -1], [3, -1], [3, 4]]
    columns = [(row.facts["example"].tolist(), row.facts["slot"].tolist()) for row in pairs.rows]
    assert columns == [([0, 0], [1, 0]), ([2, 2], [1, 0]), ([3, 3, 3], [1, 2, 0])]
    assert pairs.dropped == pytest.approx(1 - 4 / (2 * len(examples)))
    responses = [np.split(row.label, np.flatnonzero(row.step == 0)[1:]) for row in pairs.rows]
    named = [[policy.prompts.response(item) for item in items] for items in ([7, 0], [3, 5], [3, 4, 5])]
    assert [[ids.tolist() for ids in row] for row in responses] == named


def test_packed_pairs_have_the_log_probabilities_of_pairs_alone(tmp_path: Path, data: TrainingData) -> None:
    packed_run, policy, packed = set_up(tmp_path / "fit", data, tiny_settings(pack="user"))
    alone = next_item(policy.prompts, data, toy_run(tmp_path / "other", llm=tiny_settings(pack="none")))
    tables = []
    for examples in (packed, alone):
        rejected = np.stack([(examples.target + 3) % 12, (examples.target + 5) % 12], 1)
        pairs = make_pairs(policy, examples, rejected)
        tables.append(reference_logps(policy, pairs, packed_run, weights="start"))
    assert len(packed.rows) < len(alone.rows)
    np.testing.assert_allclose(tables[0], tables[1], atol=1e-4)


@pytest.mark.parametrize(
    ("paradigm", "pack"), [("semantic-id", "none"), ("semantic-id", "user"), ("title", "none")]
)
def test_one_prompt_for_all_negatives_has_the_gradients_of_a_copy_for_each(
    tmp_path: Path, data: TrainingData, paradigm: Paradigm, pack: Literal["none", "user"]
) -> None:
    """S-DPO of rows in one padded batch, beside every response read after its prompt in a pass of its own."""
    titles = tuple(" ".join([title] * (1 + item % 3)) for item, title in enumerate(data.catalogue.titles))
    data = replace(data, catalogue=replace(data.catalogue, titles=titles))
    run, policy, examples = set_up(tmp_path / "fit", data, tiny_settings(paradigm=paradigm, pack=pack))
    rejected = np.stack([(examples.target + shift) % 12 for shift in (3, 5, 8)], 1)
    pairs = make_pairs(policy, examples, rejected)
    objective = objective_of(SDPO().loss, policy, pairs, run, data)
    assert objective.reference is not None
    perturb(policy, by=0.03)
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
    shared = torch.autograd.grad(evaluate(policy, pairs, objective, grad=True).loss, weights)

    def alone(prompt: list[int], response: list[int]) -> Tensor:
        logits = policy.model(input_ids=torch.tensor([prompt + response])).logits
        return token_logp(logits[0, len(prompt) - 1 : -1], torch.tensor(response)).double().sum()

    named = np.column_stack([examples.target, rejected]).tolist()
    responses = [[policy.prompts.response(item) for item in items] for items in named]
    prompts = [policy.prompts.prompt(history.tolist()) for history in examples.history]
    pi = [alone(prompt, each) for prompt, row in zip(prompts, responses, strict=True) for each in row]
    rho = torch.stack(pi).view(len(examples), -1) - objective.reference
    loss = (SDPO().beta * (rho[:, 1:] - rho[:, :1])).exp().sum(1).log1p().mean()
    copies = torch.autograd.grad(loss, weights)

    assert len({len(row.input_ids) for row in pairs.rows}) > 1
    assert (len({len(each) for row in responses for each in row}) > 1) == (paradigm == "title")
    size = torch.cat([gradient.flatten() for gradient in copies]).norm()
    apart = torch.cat([(a - b).flatten() for a, b in zip(shared, copies, strict=True)]).norm()
    assert size > 0.1
    assert apart < 1e-5 * size


class Curve:
    """A reporter that keeps the names of what was logged."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def progress(self, stage: str, done: int, total: int) -> None: ...

    def count(self, **values: int) -> None: ...

    def log(self, **values: float | int | str) -> None:
        self.names |= values.keys()


@pytest.mark.parametrize(
    "method", [DPO(), SDPO(num_negatives=2), DMPO(num_negatives=2), RosePO(smoothing="constant", epsilon=0.1)]
)
def test_every_pair_method_logs_the_same_eight_series(
    tmp_path: Path, data: TrainingData, method: PairMethod
) -> None:
    run, policy, _ = set_up(tmp_path / "fit", data, tiny_settings(epochs=1.0))
    curve = Curve()
    parent = ParentFit(id="start", workdir=tmp_path, trained_tokens=0, llm=run.llm)
    method.train(policy, data, replace(run, parent=parent, report=curve))
    assert curve.names >= DIAGNOSTICS | {"step", "loss"}


def test_the_diagnostics_of_a_batch_by_hand(tmp_path: Path, data: TrainingData) -> None:
    run, policy, examples = set_up(tmp_path / "fit", data, tiny_settings())
    rejected = negatives.uniform(examples, policy.trie.leaf, 2, key=0)
    rejected[::2, 1] = -1
    pairs = make_pairs(policy, examples, rejected)
    objective = objective_of(SDPO().loss, policy, pairs, run, data)
    assert objective.reference is not None
    before = objective.reference.numpy()
    perturb(policy)
    after = reference_logps(policy, pairs, run, weights="moved")
    terms = {name: float(value) for name, value in evaluate(policy, pairs, objective).terms.items()}
    rho = after - before
    margins = rho[:, :1] - rho[:, 1:]
    assert terms["chosen_logp"] == pytest.approx(after[:, 0].mean(), abs=1e-4)
    assert terms["rejected_logp"] == pytest.approx(np.nanmean(after[:, 1:]), abs=1e-4)
    assert terms["margin"] == pytest.approx(np.nanmean(margins), abs=1e-4)
    assert terms["accuracy"] == pytest.approx((np.nan_to_num(margins, nan=1.0) > 0).all(1).mean())
    assert terms["displacement"] == pytest.approx(rho[:, 0].mean(), abs=1e-4)
    assert terms["kl"] == pytest.approx(np.nanmean(np.exp(rho) - 1 - rho), rel=1e-3)
    assert terms["dropped_share"] == pytest.approx((rejected < 0).mean())
    heard = [preference.percentiles(data)[row[row >= 0]].mean() for row in rejected]
    flat = preference.percentiles(data)[rejected[rejected >= 0]].mean()
    assert min(heard) <= terms["negatives_popularity"] <= max(heard)
    assert terms["negatives_popularity"] == pytest.approx(flat)


def test_reference_log_probabilities_are_computed_once_for_one_parent_and_the_same_pairs(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, policy, examples = set_up(tmp_path / "fit", data, tiny_settings())
    counted: list[int] = []

    def counting(policy: Policy, rows: Any, **options: Any) -> Any:
        counted.append(len(rows))
        return logps(policy, rows, **options)

    monkeypatch.setattr("recbench.llm.signals.pair_rows.logps", counting)
    rejected = negatives.uniform(examples, policy.trie.leaf, 2, key=0)
    pairs = make_pairs(policy, examples, rejected)
    first = reference_logps(policy, pairs, run, weights="parent")
    second_run = toy_run(tmp_path / "second", llm=run.llm)  # another method's folder, the same stages
    again = reference_logps(policy, make_pairs(policy, examples, rejected), second_run, weights="parent")
    assert len(counted) == 1
    assert np.array_equal(first, again)
    reference_logps(policy, pairs, run, weights="another parent")
    assert len(counted) == 2
    reference_logps(policy, make_pairs(policy, examples, rejected[:, :1]), run, weights="parent")
    assert len(counted) == 3
    other = make_pairs(policy, examples, negatives.uniform(examples, policy.trie.leaf, 2, key=1))
    reference_logps(policy, other, run, weights="parent")
    assert len(counted) == 4


def test_sft_weight_adds_so_much_cross_entropy_of_the_chosen_responses(
    tmp_path: Path, data: TrainingData
) -> None:
    run, policy, examples = set_up(tmp_path / "fit", data, tiny_settings())
    pairs = make_pairs(policy, examples, negatives.uniform(examples, policy.trie.leaf, 2, key=0))
    objective = objective_of(SDPO().loss, policy, pairs, run, data)
    with_sft = objective_of(SDPO().loss, policy, pairs, run, data, sft_weight=0.25)
    perturb(policy)
    plain = evaluate(policy, pairs, objective).loss
    cross_entropy = evaluate(policy, replace_rows(pairs, examples), TokenCrossEntropy()).loss
    total = evaluate(policy, pairs, with_sft).loss
    assert float(total) == pytest.approx(float(plain) + 0.25 * float(cross_entropy), abs=1e-5)


def replace_rows(pairs: PreferencePairs, examples: NextItem) -> PreferencePairs:
    return replace(pairs, rows=examples.rows)
