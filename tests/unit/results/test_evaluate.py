from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.dataset.split import load_targets
from recbench.errors import CheckError
from recbench.results import bundle, evaluate
from recbench.results.evaluate import EvaluationSet, Scored
from recbench.results.request_features import Context
from tests.unit.conftest import MakeSplit


def context(popularity: list[int]) -> Context:
    return Context(
        item_popularity=np.array(popularity),
        item_labels=np.zeros((len(popularity), 0)),
        target_popularity=np.zeros(2),
        history_length=np.ones(2),
        history_popularity=np.ones(2),
    )


def test_ranks_are_one_based_and_zero_where_the_target_is_absent() -> None:
    items = np.array([[4, 2, 7], [4, 2, 7], [4, 2, -1]])
    ranks = evaluate.target_ranks(items, np.array([4, 7, 7]))
    assert ranks.tolist() == [1, 3, 0]
    assert ranks.dtype == np.int32


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 12))
def test_ranks_agree_with_a_search_row_by_row(seed: int, depth: int, num_items: int) -> None:
    rng = np.random.default_rng(seed)
    width = min(depth, num_items)
    items = np.array([rng.permutation(num_items)[:width] for _ in range(9)])
    targets = rng.integers(0, num_items, 9)
    by_search = [
        row.index(target) + 1 if target in row else 0
        for row, target in zip(items.tolist(), targets.tolist(), strict=True)
    ]
    assert evaluate.target_ranks(items, targets).tolist() == by_search


def test_a_missing_target_is_refused_because_padding_would_match_it() -> None:
    with pytest.raises(CheckError, match="request 1 has no target"):
        evaluate.target_ranks(np.array([[1], [-1]]), np.array([1, -1]))


def test_targets_of_another_length_are_refused() -> None:
    with pytest.raises(CheckError, match="do not fit"):
        evaluate.target_ranks(np.array([[1], [2]]), np.array([1]))


def test_score_gives_ranks_metrics_and_list_measures() -> None:
    surroundings = context([3, 2, 1, 0])
    ranks, values = evaluate.score(
        np.array([[0, 1], [1, 2]]), np.array([1, 0]), context=surroundings, cutoffs=(1, 2)
    )
    assert ranks.tolist() == [2, 0]
    assert values["hr@1"] == 0.0
    assert values["hr@2"] == 1 / 2
    assert values["mrr@2"] == 1 / 4
    assert values["coverage@2"] == 3 / 4
    assert values["popularity@1"] == (3 + 2) / 2


def test_a_cutoff_beyond_the_lists_is_refused() -> None:
    with pytest.raises(CheckError, match="cutoff 5 exceeds the 2 places"):
        evaluate.score(np.array([[0, 1]]), np.array([1]), context=context([1, 1]), cutoffs=(1, 5))


def test_scoring_writes_ranks_metrics_and_features_and_opens_each_file_once(
    tmp_path: Path, make_split: MakeSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = make_split()
    targets = load_targets(split.folder, "test")
    items = np.stack([(targets + place) % 100 for place in range(20)], axis=1)
    items[0] = items[1]  # the first target is no longer in its list
    certified = np.arange(len(items)) % 4 > 0
    bundle.write_arrays(tmp_path / "topk.npz", items=items, certified=certified)
    opened: Counter[str] = Counter()
    read = Path.read_bytes

    def counting(path: Path) -> bytes:
        opened[path.name] += path.parent == split.folder
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    scored = evaluate.score_into(tmp_path, EvaluationSet.load(split.folder, "test"), cutoffs=(1, 20))
    assert scored == Scored(num_requests=600, certified_share=0.75)
    arrays = bundle.read_arrays(tmp_path / "ranks.npz")
    missed = 0 if targets[0] not in items[0] else items[0].tolist().index(targets[0]) + 1
    assert arrays["ranks"][:3].tolist() == [missed, 1, 1]
    assert arrays["users"].shape == (600,)
    assert json.loads((tmp_path / "metrics.json").read_text())["hr@1"] == (arrays["ranks"] == 1).mean()
    assert len(bundle.read_arrays(tmp_path / "context.npz")["target_popularity"]) == 600
    assert opened == Counter(
        ["requests_test.npz", "users.json", "training.npz", "catalogue.json", "targets_test.npz"]
    )
