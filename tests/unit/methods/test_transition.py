"""The transition table by hand: sequences (0,1,2,0,1), (1,2,3), (0,2), (0,1,3) over the items 0 to 4."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recbench.base import params
from recbench.data import Catalogue, Examples, Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.sequential import transitions
from recbench.testing import toy_data, toy_run
from recbench_methods.transition import Transition, lag_weights

SEQUENCES = Ragged.of([[0, 1, 2, 0, 1], [1, 2, 3], [0, 2], [0, 1, 3]])
POPULARITY = np.bincount(SEQUENCES.values, minlength=5)  # 4, 4, 3, 2, 0
Q = POPULARITY / 13


def asking(*histories: list[int]) -> Requests:
    return Requests(user=np.arange(len(histories)), history=Ragged.of(histories))


DATA = TrainingData(
    catalogue=Catalogue(
        item_ids=tuple("abcde"), titles=("",) * 5, categories=("",) * 5, popularity=POPULARITY
    ),
    sequences=SEQUENCES,
    valid=Examples(requests=asking([0]), target=np.array([1])),
    history=20,
)


def scores(method: Transition, folder: Path, *histories: list[int]) -> np.ndarray:
    """[R, 5] from a second instance, as in a fresh process."""
    run = toy_run(folder / "fit")
    method.fit(DATA, run=run)
    return np.asarray(replace(method).restore(DATA, run)(asking(*histories)))


def test_pairs_are_counted_within_a_sequence_up_to_the_window() -> None:
    near = transitions(SEQUENCES, 5, window=1, gap_decay=0.5).toarray()
    assert near[:3].tolist() == [[0, 3, 1, 0, 0], [0, 0, 2, 1, 0], [1, 0, 0, 1, 0]]
    assert not near[3:].any()  # 3 only ends sequences: no pair crosses from one user to the next
    far = transitions(SEQUENCES, 5, window=2, gap_decay=0.5).toarray()
    assert far[:2].tolist() == [[0, 3, 1.5, 0.5, 0], [0.5, 0, 2, 1.5, 0]]


def test_a_window_beyond_every_sequence_counts_all_ordered_pairs() -> None:
    found = transitions(SEQUENCES, 5, window=50, gap_decay=1.0, keep_self=True).toarray()
    assert found.sum() == 10 + 3 + 1 + 3  # n (n - 1) / 2 of each sequence
    assert found[0, 0] == found[1, 1] == 1


def test_an_item_follows_itself_only_if_that_is_kept() -> None:
    repeats = Ragged.of([[2, 2, 2, 1]])
    assert transitions(repeats, 3, window=1, gap_decay=0.5).toarray()[2].tolist() == [0, 1, 0]
    kept = transitions(repeats, 3, window=1, gap_decay=0.5, keep_self=True).toarray()
    assert kept[2].tolist() == [0, 1, 2]


def test_backwards_adds_a_share_of_the_transpose() -> None:
    one, both = (transitions(SEQUENCES, 5, window=2, gap_decay=0.5, backwards=b).toarray() for b in (0, 0.5))
    assert np.array_equal(both, one + 0.5 * one.T)
    whole = transitions(SEQUENCES, 5, window=3, gap_decay=0.5, backwards=1).toarray()
    assert np.array_equal(whole, whole.T)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"lags": 1, "window": 1}, (0.076923, 0.076923, 0.557692, 0.288462, 0)),
        ({"lags": 2, "window": 1}, (0.071795, 0.271795, 0.453846, 0.202564, 0)),
        ({"lags": 2, "window": 2}, (0.124786, 0.224786, 0.393590, 0.256838, 0)),
        ({"lags": 2, "window": 2, "backwards": 0.5}, (0.243115, 0.206078, 0.355176, 0.195632, 0)),
    ],
)
def test_the_scores_after_0_1_are_the_worked_ones(
    values: dict[str, float], expected: tuple[float, ...], tmp_path: Path
) -> None:
    plain = {"gap_decay": 0.5, "recency": 0.5, "smoothing": 1.0, "exponent": 1.0, "backwards": 0.0}
    method = Transition(**{**plain, **values})  # type: ignore[arg-type]
    (found,) = scores(method, tmp_path, [0, 1])
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    # lags beyond the history change nothing: the weights are shares of what is there
    more = Transition(**{**plain, **values, "lags": 9})  # type: ignore[arg-type]
    (again,) = scores(more, tmp_path, [0, 1][-int(values["lags"]) :])
    assert again.tolist() == pytest.approx(expected, abs=1e-6)


def test_an_item_that_nothing_followed_backs_off_to_popularity(tmp_path: Path) -> None:
    found = scores(Transition(exponent=1.0, backwards=0.0, lags=1), tmp_path, [4], [3])
    assert found.tolist() == [pytest.approx(Q)] * 2
    flat = scores(Transition(exponent=0.5, backwards=0.0, lags=1), tmp_path, [4])
    assert flat[0].tolist() == pytest.approx(np.sqrt(POPULARITY) / np.sqrt(POPULARITY).sum())


@pytest.mark.parametrize("smoothing", [1e-9, 1.0, 1e9])
def test_scores_are_a_probability_between_counts_and_popularity(smoothing: float, tmp_path: Path) -> None:
    method = Transition(smoothing=smoothing, lags=1, window=1, gap_decay=1.0, backwards=0.0, exponent=1.0)
    (found,) = scores(method, tmp_path, [0])
    assert found.sum() == pytest.approx(1)
    expected = (np.array([0, 3, 1, 0, 0]) + smoothing * Q) / (4 + smoothing)
    assert found == pytest.approx(expected)


def test_the_lags_weigh_by_recency_and_a_repeated_item_adds_up() -> None:
    found = lag_weights(Ragged.of([[2, 0, 1, 0], [1]]), 3, lags=3, recency=0.5).toarray()
    assert found.tolist() == [[pytest.approx((1 + 0.25) / 1.75), pytest.approx(0.5 / 1.75), 0], [0, 1, 0]]


def test_the_validation_item_is_in_no_count(tmp_path: Path) -> None:
    """Histories of later requests contain it; the table must not."""
    data = toy_data(num_users=20, num_items=15)
    table = []
    for number, target in enumerate((data.valid.target, (data.valid.target + 7) % 15)):
        run = toy_run(tmp_path / str(number))
        Transition().fit(replace(data, valid=replace(data.valid, target=target)), run=run)
        table.append((run.workdir / "transition.npz").read_bytes())
    assert table[0] == table[1]


def test_it_learns_a_walk_through_the_catalogue(tmp_path: Path) -> None:
    data, run = toy_data(), toy_run(tmp_path / "fit")  # i is followed by i + 1 with probability 0.9
    method = Transition(lags=1, window=1)
    method.fit(data, run=run)
    method.load(data, run=run)
    ranking = method.rank(data.valid.requests, k=5)
    ranking.check(data.valid.requests, num_items=30, depth=5)
    last = np.array([history[-1] for history in data.valid.requests.history])
    assert (ranking.items[:, 0] == (last + 1) % 30).all()
    assert (ranking.items[:, 0] == data.valid.target).mean() > 0.7


@pytest.mark.parametrize(
    "values",
    [
        {"window": 0},
        {"lags": 0},
        {"smoothing": 0.0},
        {"gap_decay": 0.0},
        {"recency": 1.5},
        {"backwards": 2.0},
    ],
)
def test_a_value_outside_its_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        params.build(Transition, values, what="transition")


def test_it_imports_no_torch() -> None:
    code = (
        "import sys, tempfile, pathlib\n"
        "from recbench.testing import toy_data, toy_run\n"
        "from recbench_methods.transition import Transition\n"
        "data, run = toy_data(), toy_run(pathlib.Path(tempfile.mkdtemp()) / 'fit')\n"
        "method = Transition()\n"
        "method.fit(data, run=run)\n"
        "method.load(data, run=run)\n"
        "method.rank(data.valid.requests, k=5)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
