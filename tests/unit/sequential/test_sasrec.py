"""SASRec's rows, training and scoring, on a ring of ten items where i is always followed by i + 1 mod 10."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.base import params
from recbench.base.progress import Silent
from recbench.data import Catalogue, Examples, Ints, Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import RunContext
from recbench.sequential import sasrec
from recbench.sequential.params import SASRecParams
from recbench.stages import StageCache
from recbench_methods.sasrec import SASRec

NUM_ITEMS, HISTORY = 10, 5
SMALL = SASRecParams(dim=16, inner=32, dropout=0.1, lr=1e-2, batch=16, epochs=3, patience=3)


def ring(num_users: int = 60) -> TrainingData:
    """User u starts at item u mod 10; training sequences have 1 to 13 items."""
    walks = [[(user + step) % NUM_ITEMS for step in range(2 + user % 13)] for user in range(num_users)]
    training = Ragged.of([walk[:-1] for walk in walks])
    return TrainingData(
        catalogue=Catalogue(
            item_ids=tuple(map(str, range(NUM_ITEMS))),
            titles=("",) * NUM_ITEMS,
            categories=("",) * NUM_ITEMS,
            popularity=np.bincount(training.values, minlength=NUM_ITEMS),
        ),
        sequences=training,
        valid=Examples(
            requests=Requests(user=np.arange(num_users), history=training.last(HISTORY)),
            target=np.array([walk[-1] for walk in walks]),
        ),
        history=HISTORY,
        digests={"split": "ring"},
    )


def context(folder: Path, *, seed: int = 0) -> RunContext:
    workdir = folder / f"fit-{seed}"
    workdir.mkdir(exist_ok=True)
    return RunContext(seed=seed, workdir=workdir, stages=StageCache(folder / "cache"))


def trained(data: TrainingData, *, seed: int = 0, params: SASRecParams = SMALL) -> sasrec.SASRecModel:
    return sasrec.train_sasrec(data, params, seed=seed, report=Silent(), threads=1)


class Record(Silent):
    def __init__(self) -> None:
        self.points: list[dict[str, float | int | str]] = []
        self.totals: Counter[str] = Counter()

    def log(self, **values: float | int | str) -> None:
        self.points.append(values)

    def count(self, **values: int) -> None:
        self.totals.update(values)


# ---- rows


def test_a_sequence_within_the_window_is_one_left_aligned_row() -> None:
    rows = sasrec.cut_rows(Ragged.of([[7, 8, 9, 4], [3]]), 4, np.random.default_rng(0))
    assert rows.inputs.tolist() == [[7, 8, 9, 0]]
    assert rows.targets.tolist() == [[8, 9, 4, -1]]
    assert rows.examples.tolist() == [[0, 1, 2, -1]]


def test_a_longer_sequence_is_cut_into_consecutive_rows_from_a_random_place() -> None:
    # seven targets, window 3: a cut at 0 gives 3 + 3 + 1, at 1 gives 1 + 3 + 3, at 2 gives 2 + 3 + 2
    seen = set()
    for seed in range(20):
        _, targets, _ = sasrec.cut_rows(Ragged.of([range(10, 18)]), 3, np.random.default_rng(seed))
        seen.add(tuple((targets >= 0).sum(1).tolist()))
    assert seen == {(3, 3, 1), (1, 3, 3), (2, 3, 2)}


@settings(max_examples=80, deadline=None)
@given(lengths=st.lists(st.integers(0, 17), max_size=6), history=st.integers(1, 6), seed=st.integers(0, 99))
def test_rows_hold_every_target_once_behind_the_items_before_it(
    lengths: list[int], history: int, seed: int
) -> None:
    starts = np.cumsum([0, *lengths])  # all items differ, so that a target names its place
    sequences = Ragged.of([np.arange(starts[u], starts[u] + n) for u, n in enumerate(lengths)])
    inputs, targets, examples = sasrec.cut_rows(sequences, history, np.random.default_rng(seed))
    real = targets >= 0
    expected = [item for row in sequences for item in row[1:].tolist()]
    assert sorted(targets[real].tolist()) == sorted(expected)
    assert [expected[example] for example in examples[real]] == targets[real].tolist()
    assert (targets[real] == inputs[real] + 1).all()
    assert (real[:, :-1] >= real[:, 1:]).all()
    assert real.any(1).all()
    both = real[:, 1:]
    assert (inputs[:, 1:][both] == targets[:, :-1][both]).all()


def test_with_a_stride_of_two_every_target_has_almost_the_whole_window_before_it() -> None:
    sequences = Ragged.of([range(10, 19)])  # eight targets; windows of four
    rows = sasrec.cut_rows(sequences, 4, np.random.default_rng(1), stride=2)  # draws 0
    assert rows.inputs.tolist() == [[10, 11, 12, 13], [12, 13, 14, 15], [14, 15, 16, 17]]
    assert rows.targets.tolist() == [[11, 12, 13, 14], [-1, -1, 15, 16], [-1, -1, 17, 18]]
    assert rows.examples.tolist() == [[0, 1, 2, 3], [-1, -1, 4, 5], [-1, -1, 6, 7]]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    stride=st.integers(0, 9),
    seed=st.integers(0, 9),
)
def test_at_every_stride_a_target_stands_once_behind_at_least_the_promised_context(
    lengths: list[int], stride: int, seed: int
) -> None:
    sequences = Ragged.of([100 * user + np.arange(n) for user, n in enumerate(lengths)])
    inputs, targets, examples = sasrec.cut_rows(sequences, 7, np.random.default_rng(seed), stride=stride)
    real = targets >= 0
    assert sorted(examples[real]) == list(range(sum(n - 1 for n in lengths)))
    shortest = 7 - min(stride or 7, 7) + 1
    for row, column in zip(*np.nonzero(real), strict=True):
        target = targets[row, column]
        context = inputs[row, : column + 1].tolist()
        assert context == list(range(target - len(context), target))
        assert len(context) >= min(shortest, target % 100)


# ---- training


def test_the_ring_is_learned_to_hit_rate_one(tmp_path: Path) -> None:
    data, run = ring(), context(tmp_path)
    method = SASRec(dim=16, inner=32, dropout=0.1, lr=1e-2, batch=16, epochs=30, patience=30)
    method.fit(data, run=run)
    method.load(data, run=run)
    ranking = method.rank(data.valid.requests, k=3)
    ranking.check(data.valid.requests, num_items=NUM_ITEMS, depth=3)
    assert (ranking.items[:, 0] == data.valid.target).all()


def test_equal_seeds_give_equal_scores_bit_for_bit_and_another_seed_does_not() -> None:
    data, found = ring(), []
    for seed, state_before in ((1, 7), (1, 8), (2, 7)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state_before)
            found.append(sasrec.scores(trained(data, seed=seed), data.valid.requests.history))
    assert np.array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2], atol=1e-3)


def test_training_leaves_torchs_random_state_and_threads_alone() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    trained(ring())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_gradients_never_see_the_validation_targets() -> None:
    data = ring()
    one_epoch = replace(SMALL, epochs=1)
    shuffled = replace(
        data, valid=Examples(requests=data.valid.requests, target=(data.valid.target + 3) % NUM_ITEMS)
    )
    ours, theirs = trained(data, params=one_epoch), trained(shuffled, params=one_epoch)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_the_best_epochs_weights_are_kept_and_training_stops_after_patience() -> None:
    data, record = ring(), Record()
    params = replace(SMALL, lr=0.1, epochs=40, patience=4)  # a learning rate at which the curve jumps
    model = sasrec.train_sasrec(data, params, seed=0, report=record, threads=1)
    curve = [float(point["valid_ndcg_at_10"]) for point in record.points]
    best = curve.index(max(curve))
    assert len(curve) == best + 1 + params.patience < params.epochs
    assert curve[-1] < curve[best] - 0.01
    assert sasrec.validation_ndcg(model, data.valid, data.catalogue.popularity) == pytest.approx(curve[best])


def test_the_average_follows_the_weights_step_by_step_and_is_what_is_kept() -> None:
    """After one step the average is the weights, and with a decay of 0.5 it then goes half of the way."""
    data = ring()
    one = replace(SMALL, batch=10**6, epochs=1)  # an epoch is a step
    first, second = (trained(data, params=replace(one, epochs=n, patience=9, lr=1e-3)) for n in (1, 2))
    both = trained(data, params=replace(one, epochs=2, patience=9, lr=1e-3, averaging=0.5))
    for a, b, average in zip(first.parameters(), second.parameters(), both.parameters(), strict=True):
        torch.testing.assert_close(average, (a + b) / 2)


def test_every_epoch_counts_every_training_target() -> None:
    data, record = ring(), Record()
    sasrec.train_sasrec(data, SMALL, seed=0, report=record, threads=1)
    assert record.totals["trained_tokens"] == SMALL.epochs * data.num_targets
    assert record.totals["steps"] == record.points[-1]["step"]


# ---- scoring


@pytest.fixture(scope="module")
def model() -> sasrec.SASRecModel:
    return trained(ring())


def test_scores_do_not_depend_on_the_batch(model: sasrec.SASRecModel) -> None:
    history = ring().valid.requests.history
    together = sasrec.scores(model, history)
    assert together.shape == (60, NUM_ITEMS)
    assert together.dtype == np.float32
    np.testing.assert_allclose(sasrec.scores(model, history, batch=7), together, atol=1e-5)


def test_only_the_last_items_of_the_window_count(model: sasrec.SASRecModel) -> None:
    longer = sasrec.scores(model, Ragged.of([[9, 9, 9, 0, 1, 2, 3, 4]]))
    assert np.array_equal(longer, sasrec.scores(model, Ragged.of([[0, 1, 2, 3, 4]])))


def test_a_position_sees_no_later_item(model: sasrec.SASRecModel) -> None:
    states = model(torch.tensor([[1, 2, 3, 4], [1, 2, 8, 9]]))
    torch.testing.assert_close(states[0, :2], states[1, :2])
    assert not torch.allclose(states[0, 2], states[1, 2], atol=1e-3)


def test_zero_parameters_tie_all_items_and_the_tie_order_decides() -> None:
    blank = sasrec.SASRecModel(SMALL, num_items=NUM_ITEMS, history=HISTORY).eval()
    for parameter in blank.parameters():
        torch.nn.init.zeros_(parameter)
    popularity: Ints = np.array([0, 5, 0, 0, 9, 0, 0, 0, 0, 5])  # order 4, 1, 9, 0, 2, 3, 5, 6, 7, 8
    valid = Examples(
        requests=Requests(user=np.arange(NUM_ITEMS), history=Ragged.of([[0]] * NUM_ITEMS)),
        target=np.arange(NUM_ITEMS),
    )
    assert not sasrec.scores(blank, valid.requests.history).any()
    # of the ten targets, one each, three are in the top three: (1 + 1/log2(3) + 1/2) / 10
    assert sasrec.validation_ndcg(blank, valid, popularity, k=3) == pytest.approx(0.2130930)
    # where the target is the only candidate it is always first
    only = replace(
        valid, requests=replace(valid.requests, allowed=Ragged.of([[t] for t in range(NUM_ITEMS)]))
    )
    assert sasrec.validation_ndcg(blank, only, popularity, k=1) == pytest.approx(1.0)


def test_a_saved_model_scores_as_before(model: sasrec.SASRecModel, tmp_path: Path) -> None:
    sasrec.save(model, tmp_path / "model")
    history = ring().valid.requests.history
    loaded = sasrec.load(tmp_path / "model")
    assert loaded.params == model.params
    assert np.array_equal(sasrec.scores(loaded, history), sasrec.scores(model, history))


# ---- the shared stage and the method


def method() -> SASRec:
    return SASRec(dim=16, inner=32, dropout=0.1, lr=1e-2, batch=16, epochs=3, patience=3)


def test_method_and_reward_model_share_one_training(tmp_path: Path) -> None:
    data, run = ring(), context(tmp_path)
    method().fit(data, run=run)
    model = sasrec.cf_model(data, run, SMALL)
    assert len(list((tmp_path / "cache" / "sasrec").iterdir())) == 1
    fitted = sasrec.load(run.workdir / sasrec.WEIGHTS)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fitted.parameters(), strict=True))
    sasrec.cf_model(data, context(tmp_path, seed=1), SMALL)
    assert len(list((tmp_path / "cache" / "sasrec").iterdir())) == 2


def test_a_fit_that_finds_the_stage_reports_the_same_cost_and_curve(tmp_path: Path) -> None:
    data, run = ring(), context(tmp_path)
    first, second = (replace(run, report=Record()) for _ in range(2))
    for run in (first, second):
        method().fit(data, run=run)
    assert isinstance(first.report, Record)
    assert isinstance(second.report, Record)
    assert first.report.points == second.report.points
    assert first.report.totals == second.report.totals
    assert first.report.totals["trained_tokens"] == 3 * data.num_targets


def test_masks_and_candidates_are_honoured_beyond_one_chunk(tmp_path: Path) -> None:
    data, run = ring(), context(tmp_path)
    method().fit(data, run=run)
    fitted = method()
    fitted.load(data, run=run)
    rows = 600
    requests = Requests(
        user=np.arange(rows),
        history=Ragged.of([[row % 10] for row in range(rows)]),
        allowed=Ragged.of([[row % 10, (row + 1) % 10, (row + 5) % 10] for row in range(rows)]),
        excluded=Ragged.of([[row % 10] for row in range(rows)]),
    )
    ranking = fitted.rank(requests, k=4)
    ranking.check(requests, num_items=NUM_ITEMS, depth=4)
    assert ((ranking.items >= 0).sum(1) == 2).all()


def test_ranking_before_loading_says_so() -> None:
    with pytest.raises(UsageError, match="before it was loaded"):
        SASRec().rank(ring().valid.requests, k=1)


@pytest.mark.parametrize("wrong", [{"dim": 10, "heads": 4}, {"dropout": 1.0}, {"epochs": 0}])
def test_impossible_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        params.build(SASRec, wrong, what="sasrec")
