"""A method that gives a scoring function is ranked, tied, masked and refused as every method is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recbench.data import Ragged, Requests, TrainingData
from recbench.errors import UsageError
from recbench.method import Method, RunContext, traits_of
from recbench.scorer import ScoreItems, Scorer
from recbench.testing import toy_data, toy_run


@dataclass(kw_only=True)
class Recent(Scorer):
    """The items of the history score by their position in it, all others 0."""

    weight: float = 1.0

    def fit(self, _data: TrainingData, /, *, run: RunContext) -> None:
        (run.workdir / "weight").write_text(str(self.weight))

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        weight = float((run.workdir / "weight").read_text())

        def score(requests: Requests) -> NDArray[np.float64]:
            scores = np.zeros((len(requests), data.num_items))
            for row, history in enumerate(requests.history):
                scores[row, history] = weight * np.arange(1, len(history) + 1)
            return scores

        return score


def asking(*histories: list[int], excluded: Ragged | None = None) -> Requests:
    return Requests(user=np.arange(len(histories)), history=Ragged.of(histories), excluded=excluded)


def test_the_restored_function_decides_and_ties_follow_popularity(tmp_path: Path) -> None:
    data, run = toy_data(num_items=6), toy_run(tmp_path / "fit")
    Recent(weight=2.0).fit(data, run=run)
    method: Method = Recent()
    method.load(data, run=run)
    ranking = method.rank(asking([3, 5], [1, 2, 4]), k=6)
    rest = sorted({0, 1, 2, 4}, key=lambda item: (-data.catalogue.popularity[item], item))
    assert ranking.items.tolist()[0] == [5, 3, *rest]
    assert ranking.scores is not None
    assert ranking.scores.tolist()[1] == [6, 4, 2, 0, 0, 0]


def test_masked_items_are_left_out(tmp_path: Path) -> None:
    data, run = toy_data(num_items=6), toy_run(tmp_path / "fit")
    Recent().fit(data, run=run)
    method = Recent()
    method.load(data, run=run)
    requests = asking([3, 5], excluded=Ragged.of([[5]]))
    ranking = method.rank(requests, k=6)
    assert ranking.items[0, 0] == 3
    ranking.check(requests, num_items=6, depth=6)


def test_ranking_before_loading_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="Recent was asked to rank before it was loaded"):
        Recent().rank(asking([0]), k=1)


def test_what_was_loaded_is_no_parameter() -> None:
    assert [f.name for f in fields(Recent)] == ["weight"]
    assert traits_of(Recent).kind == "scorer"
