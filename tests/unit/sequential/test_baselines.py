"""The losses of DROS and DLLM2Rec, and what every sequential baseline must do on the cycle of ten items."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.data import Catalogue, Examples, Ragged, Requests, TrainingData
from recbench.errors import DataError, MissingError, UsageError
from recbench.llm.signals.dllm2rec import Student, distillation, teacher_weights
from recbench.llm.signals.teacher import Teacher, ask_parent, training_requests
from recbench.method import ParentFit, RunContext
from recbench.planning import registry
from recbench.ranking import rank_by_scores
from recbench.sequential import recbole
from recbench.sequential.dros import (
    DROSModel,
    bce,
    draw_negatives,
    dros_loss,
    item_weights,
    robust,
    target_counts,
)
from recbench.sequential.params import DLLM2RecParams, DROSParams
from recbench.sequential.sasrec import scores
from recbench.settings import Paradigm
from recbench.testing import tiny_settings, toy_run
from recbench_methods.itemknn import similarities, weights

NUM_ITEMS = 10


def cycle(num_users: int = 60) -> TrainingData:
    """Item i is always followed by i + 1 mod 10."""
    rng = np.random.default_rng(0)
    starts, lengths = rng.integers(NUM_ITEMS, size=num_users), rng.integers(4, 12, size=num_users)
    rows = [(s + np.arange(n)) % NUM_ITEMS for s, n in zip(starts, lengths, strict=True)]
    train = Ragged.of([row[:-1] for row in rows])
    names = tuple(str(item) for item in range(NUM_ITEMS))
    return TrainingData(
        catalogue=Catalogue(
            item_ids=names,
            titles=names,
            categories=("",) * NUM_ITEMS,
            popularity=np.bincount(train.values, minlength=NUM_ITEMS),
        ),
        sequences=train,
        valid=Examples(
            requests=Requests(user=np.arange(num_users), history=train.last(8)),
            target=np.array([row[-1] for row in rows]),
        ),
        history=8,
        digests={"split": "cycle", "catalogue": "cycle"},
    )


def double(*rows: Any) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# ---- DROS

S, W = double([0.5, -0.2, 1.0]), torch.tensor([0.9, 0.8, 0.95], dtype=torch.float64)
TARGET, NEGATIVE = torch.tensor([2]), torch.tensor([0])


def test_the_robust_term_and_the_total_of_dros_are_the_worked_ones() -> None:
    # squares under the weights: 0.9 * 0.25, 0.8 * 0.04, 0.95 * 0; log(e^0.225 + e^0.032 + 1)
    assert robust(S, TARGET, W, beta=1.0).item() == pytest.approx(1.189318, abs=1e-6)
    # the mean of softplus(-1) and softplus(0.5)
    assert bce(S, TARGET, NEGATIVE).item() == pytest.approx(0.643669, abs=1e-6)
    assert dros_loss(S, TARGET, NEGATIVE, W, alpha=0.1, beta=1.0).item() == pytest.approx(0.762601, abs=1e-6)


def test_dros_without_its_robust_term_is_binary_cross_entropy() -> None:
    assert torch.equal(dros_loss(S, TARGET, NEGATIVE, W, alpha=0, beta=1), bce(S, TARGET, NEGATIVE))


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_dros_is_finite_for_large_logits(size: float) -> None:
    logits = (S * size).requires_grad_()
    loss = dros_loss(logits, TARGET, NEGATIVE, W, alpha=1.0, beta=0.1).mean()
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_item_weights_are_nearly_flat_and_count_targets_only() -> None:
    data = replace(cycle(1), sequences=Ragged.of([[3, 4, 4], [3, 5], []]))
    assert target_counts(data).tolist() == [0, 0, 0, 0, 2, 1, 0, 0, 0, 0]
    found = item_weights(torch.tensor([0.0, 1.0, 5.0]))  # n + 1 = 1, 2, 6 of 9
    assert found.tolist() == pytest.approx([(1 / 9) ** 0.05, (2 / 9) ** 0.05, (6 / 9) ** 0.05])


def test_a_negative_is_never_the_target_and_every_other_item_can_be() -> None:
    target = torch.full((500,), 2)
    drawn = draw_negatives(target, 4, torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == {0, 1, 3}


# ---- DLLM2Rec


def test_teacher_weights_are_the_worked_ones() -> None:
    # places weigh 0.665241, 0.244728, 0.090031; confidences 0.446947, 0.331106, 0.221947; agreement 1, 0, 1
    found = teacher_weights(double([0.2, 0.5, 0.9]), double([1, 0, 1]), DLLM2RecParams())
    assert found[0].tolist() == pytest.approx([0.523046, 0.238972, 0.237983], abs=1e-6)


def test_what_a_list_lacks_weighs_nothing() -> None:
    # two items are left: places e^0 and e^-1, confidences e^-0.2 and e^-0.5, agreement 1 and 0
    found = teacher_weights(double([0.2, 0.5, np.inf]), double([1, 0, 0]), DLLM2RecParams())
    first, second = 0.3 * 0.731059 + 0.5 * 0.574443 + 0.1, 0.3 * 0.268941 + 0.5 * 0.425557
    expected = [first / (first + second), second / (first + second), 0.0]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_distillation_weighs_each_teacher_items_own_loss() -> None:
    logits, table = double([0.5, -0.2, 1.0], [0.1, 0.3, -0.4]), torch.tensor([[2, 1], [0, 1]])
    importance, negative = double([0.75, 0.25], [0.5, 0.5]), torch.tensor([0, 2])
    found = distillation(logits, table, importance, negative, W, alpha=0.1, beta=1.0)
    by_hand = 0.0
    for row in range(2):
        for place in range(2):
            scores, item = logits[row : row + 1], table[row : row + 1, place]
            both_terms = 2 * bce(scores, item, negative[row : row + 1])
            one = both_terms + 0.1 * robust(scores, item, W, beta=1)
            by_hand += importance[row, place].item() * one.item() / 2
    assert found.item() == pytest.approx(by_hand)


def test_the_students_input_holds_the_teachers_vectors() -> None:
    params = DLLM2RecParams(dim=4, inner=4, embedding_weight=0.5)
    student = Student(params, torch.eye(NUM_ITEMS), num_items=NUM_ITEMS, history=8)
    items = torch.tensor([3, 7])
    expected = student.item.weight[items] + 0.5 * (student.project.weight.T[items] + student.project.bias)
    torch.testing.assert_close(student.embed(items), expected)


def teacher_of(data: TrainingData, *, right: bool) -> Teacher:
    """Lists that begin with the target (or with the item before it), and one vector an item."""
    targets = np.concatenate([row[1:] for row in data.sequences])
    first = targets if right else (targets + 5) % NUM_ITEMS
    items = np.stack([first, (first + 3) % NUM_ITEMS], 1)
    distances = np.tile(np.array([0.1, 1.0], dtype=np.float32), (len(items), 1))
    return Teacher(items, distances, np.eye(NUM_ITEMS, dtype=np.float32))


def test_a_teacher_of_another_split_is_refused(tmp_path: Path) -> None:
    data, path = cycle(), tmp_path / "teacher.npz"
    teacher_of(cycle(20), right=True).save(path)
    with pytest.raises(DataError, match="no teacher of this split"):
        Teacher.load(str(path), data)
    with pytest.raises(MissingError, match="no teacher file"):
        Teacher.load(str(tmp_path / "other.npz"), data)


def test_every_training_target_is_asked_for_behind_the_protocols_window() -> None:
    data = replace(cycle(), sequences=Ragged.of([[5, 6], [4], [1, 2, 3, 4]]), history=2)
    asked = training_requests(data)
    assert asked.user.tolist() == [0, 2, 2, 2]
    assert [history.tolist() for history in asked.history] == [[5], [1], [1, 2], [2, 3]]


def sft_of(data: TrainingData, folder: Path, *, paradigm: Paradigm, epochs: float) -> RunContext:
    """The run of a scorer whose parent, a fit of sft, is done."""
    run = toy_run(folder / "sft", llm=tiny_settings(paradigm=paradigm, epochs=epochs, batch=8))
    registry.load("sft").build({}).fit(data, run=run)
    parent = ParentFit(id="sft", workdir=run.workdir, trained_tokens=0, llm=run.llm)
    return replace(toy_run(folder / "child"), parent=parent)


def test_dllm2rec_is_taught_by_the_parent_which_is_asked_once(tmp_path: Path) -> None:
    data = cycle()
    run = sft_of(data, tmp_path, paradigm="semantic-id", epochs=12)
    teacher = ask_parent(data, run, length=3, sample=100)
    told = np.flatnonzero(teacher.items[:, 0] >= 0)
    targets = np.concatenate([row[1:] for row in data.sequences])
    assert len(told) == 100
    assert (teacher.items[told, 0] == targets[told]).mean() > 0.9
    assert (np.diff(teacher.distances[told], axis=1) >= 0).all()  # minus log-probabilities, best first
    assert np.isinf(np.delete(teacher.distances, told, axis=0)).all()

    values = {"dim": 16, "lr": 1e-2, "batch": 16, "epochs": 2, "length": 3, "sample": 100}
    method = registry.load("dllm2rec").build(values)
    method.fit(data, run=run)
    facts = json.loads((run.workdir / "facts.json").read_text())
    assert facts["teacher"] == teacher.digest
    assert len(list((tmp_path / "stages" / "lists").iterdir())) == 1
    assert len(facts["identifiers"]) == 64
    method.load(data, run=run)
    method.rank(data.valid.requests, k=3).check(data.valid.requests, num_items=NUM_ITEMS, depth=3)


@pytest.mark.slow
def test_a_teacher_that_writes_titles_lists_the_nearest_ones(tmp_path: Path) -> None:
    words = ("red", "green", "blue", "grey", "pink", "gold", "lime", "plum", "rust", "sand")
    data = cycle()
    data = replace(data, catalogue=replace(data.catalogue, titles=words))
    run = sft_of(data, tmp_path, paradigm="title", epochs=30)
    teacher = ask_parent(data, run, length=3, sample=50)
    told = np.flatnonzero(teacher.items[:, 0] >= 0)
    targets = np.concatenate([row[1:] for row in data.sequences])
    assert len(told) == 50
    right = teacher.items[told, 0] == targets[told]
    assert right.mean() > 0.8
    assert teacher.distances[told[right], 0] == pytest.approx(0, abs=1e-6)  # it wrote that very title


# ---- ItemKNN


def test_similarities_are_shrunk_cosines_of_the_items_users() -> None:
    # item 0: users 0, 1; item 1: users 0, 1, 2; item 2: user 2
    found = similarities(Ragged.of([[0, 1, 1], [1, 0], [1, 2]]), 3, neighbours=5, shrink=1.0).toarray()
    assert found[0, 1] == pytest.approx(2 / (np.sqrt(6) + 1))
    assert found[1, 2] == pytest.approx(1 / (np.sqrt(3) + 1))
    assert found[0, 2] == 0
    assert (np.diag(found) == 0).all()
    nearest = similarities(Ragged.of([[0, 1, 1], [1, 0], [1, 2]]), 3, neighbours=1, shrink=1.0).toarray()
    assert nearest[1].tolist() == [found[1, 0], 0, 0]


def test_older_items_of_a_history_weigh_less() -> None:
    found = weights(Ragged.of([[2, 0], [1]]), 3, 0.5).toarray()
    assert found.tolist() == [[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]


# ---- all of them


def hits(name: str, values: Mapping[str, object], data: TrainingData, folder: Path) -> float:
    """Hit@1 on validation of a fit that a second instance restores."""
    plugin, run = registry.load(name), toy_run(folder / "work")
    plugin.build(values).fit(data, run=run)
    method = plugin.build(values)
    method.load(data, run=run)
    ranking = method.rank(data.valid.requests, k=3)
    ranking.check(data.valid.requests, num_items=NUM_ITEMS, depth=3)
    return float((ranking.items[:, 0] == data.valid.target).mean())


def test_dros_learns_the_cycle(tmp_path: Path) -> None:
    assert hits("dros", {"dim": 16, "lr": 1e-2, "batch": 16, "epochs": 40}, cycle(), tmp_path) == 1.0


def test_dllm2rec_learns_the_cycle_and_a_teacher_alone_can_mislead_it(tmp_path: Path) -> None:
    data, small = cycle(), {"dim": 16, "lr": 1e-2, "batch": 16, "epochs": 40, "patience": 40}
    teacher_of(data, right=True).save(tmp_path / "right.npz")
    teacher_of(data, right=False).save(tmp_path / "wrong.npz")
    right = hits("dllm2rec", {**small, "teacher": str(tmp_path / "right.npz")}, data, tmp_path / "a")
    wrong = {**small, "epochs": 5, "distillation": 50.0, "teacher": str(tmp_path / "wrong.npz")}
    assert right == 1.0
    assert hits("dllm2rec", wrong, data, tmp_path / "b") < 0.5


def test_itemknn_finds_the_only_other_item_that_users_share(tmp_path: Path) -> None:
    pairs = [[2 * (user % 5), 2 * (user % 5) + 1] for user in range(60)]
    data = replace(
        cycle(),
        sequences=Ragged.of(pairs),
        valid=Examples(
            requests=Requests(user=np.arange(60), history=Ragged.of([[a] for a, _ in pairs])),
            target=np.array([b for _, b in pairs]),
        ),
    )
    assert hits("itemknn", {}, data, tmp_path) == 1.0


def test_without_parameters_all_items_tie_and_hits_are_k_of_the_catalogue() -> None:
    """Under random tie-breaking; an optimistic order of equal scores would find the target first."""
    model = DROSModel(DROSParams(dim=8, inner=8), num_items=NUM_ITEMS, history=8).eval()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    found = scores(model, Ragged.of([[item] for item in range(NUM_ITEMS)] * 20))
    assert not found.any()
    rng, hit = np.random.default_rng(0), 0
    for row in range(200):
        items, _ = rank_by_scores(found[row : row + 1], rng.permutation(NUM_ITEMS), k=3)
        hit += int(row % NUM_ITEMS in items)
    assert hit / 200 == pytest.approx(3 / NUM_ITEMS, abs=0.1)


# ---- RecBole


def test_a_model_that_recbole_lacks_is_answered_with_the_nearest() -> None:
    pytest.importorskip("recbole")
    with pytest.raises(UsageError, match="no sequential model of RecBole 'NARN'; did you mean 'NARM'"):
        registry.load("recbole").build({"model": "NARN"})
    assert {"SASRec", "GRU4Rec", "Caser", "BERT4Rec", "NARM"} <= set(recbole.sequential_models())


def test_recboles_own_settings_are_read_by_its_names() -> None:
    pytest.importorskip("recbole")
    method = registry.load("recbole").build(
        {"model": "NARM", "settings": "hidden_size=32+dropout_probs=[0.1;0.2]"}
    )
    chosen = method.recbole_settings()  # type: ignore[attr-defined]  # of this plugin
    assert chosen["hidden_size"] == 32
    assert chosen["dropout_probs"] == [0.1, 0.2]
    with pytest.raises(UsageError, match="not of the form name=value"):
        registry.load("recbole").build({"settings": "hidden_size"})


def test_recbole_trains_on_our_split_in_a_child_and_learns_the_cycle(tmp_path: Path) -> None:
    pytest.importorskip("recbole")
    values = {
        "embedding_size": 16,
        "hidden_size": 16,
        "dropout_prob": 0.0,
        "lr": 2e-2,
        "batch": 64,
        "epochs": 8,
    }
    assert hits("gru4rec", values, cycle(), tmp_path) == 1.0


@pytest.mark.slow
def test_bert4rec_learns_the_cycle(tmp_path: Path) -> None:
    pytest.importorskip("recbole")
    plain = {"hidden_size": 32, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    assert hits("bert4rec", {**plain, "lr": 4e-3, "batch": 64, "epochs": 16}, cycle(200), tmp_path) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "caser:lr=2e-2",
        "recbole:model=NARM,lr=2e-2",
        "recbole:model=SASRec,lr=1e-2",
    ],
)
def test_every_recbole_model_learns_the_cycle(name: str, tmp_path: Path) -> None:
    pytest.importorskip("recbole")
    from recbench.base.params import parse_selection

    plain, values = parse_selection(name)
    assert hits(plain, {**values, "batch": 64, "epochs": 40}, cycle(200), tmp_path) == 1.0


@pytest.mark.slow
def test_a_model_that_needs_more_than_interactions_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("recbole")
    with pytest.raises(UsageError, match="GRU4RecF cannot be set up on interactions alone"):
        hits("recbole", {"model": "GRU4RecF", "epochs": 1}, cycle(10), tmp_path)
