"""The made-up set: its best ranking is the best, and its files are always the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbench.base.progress import Silent
from recbench.data import Ints
from recbench.dataset import card as cards
from recbench.dataset.prepare import prepare
from recbench.dataset.sources import planted
from recbench.dataset.sources.locate import locate
from recbench.dataset.split import PreparedSplit, load_requests, load_targets, load_training
from recbench.protocol import get_protocol
from recbench.ranking import rank_by_scores
from recbench.results.evaluate import target_ranks


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def split(cache: Path) -> PreparedSplit:
    return prepare(cards.find("synthetic", None), get_protocol("ilrec"), cache=cache, data_dir=None)


def hits(split: PreparedSplit, items: Ints) -> float:
    return float((target_ranks(items, load_targets(split.folder, "test")) == 1).mean())


def test_chances_halve_from_place_to_place_without_what_was_seen() -> None:
    order = np.array([[2, 0, 1, 3], [3, 2, 1, 0], [1, 0, 3, 2], [0, 1, 2, 3]])
    items, chances = planted.best_ranking(order, [2, 0])  # after 0 come 2 (seen), 0 (seen), 1, 3
    assert items.tolist() == [1, 3]
    assert chances == pytest.approx([2 / 3, 1 / 3])


def test_the_planted_ranking_hits_as_often_as_its_chances_say_and_nothing_else_does(
    split: PreparedSplit,
) -> None:
    order = planted.successors()
    requests = load_requests(split.folder, "test", exclude_seen=True)
    assert requests.excluded is not None
    best = [planted.best_ranking(order, seen) for seen in requests.excluded]
    expected = np.array([chances[0] for _, chances in best])
    got = hits(split, np.array([[items[0]] for items, _ in best]))
    error = float(np.sqrt((expected * (1 - expected)).sum()) / len(expected))
    assert abs(got - expected.mean()) < 4 * error
    assert expected.mean() > 0.5

    data = load_training(split.folder)
    popularity = data.catalogue.popularity
    popular, _ = rank_by_scores(np.broadcast_to(popularity, (len(requests), 100)), popularity, k=1)
    assert hits(split, popular) < 0.05
    # what can be learned: how often one item followed another in training
    counts = np.zeros((100, 100))
    for row in data.sequences:
        np.add.at(counts, (row[:-1], row[1:]), 1)
    last = np.array([history[-1] for history in requests.history])
    learned, _ = rank_by_scores(counts[last], popularity, k=1, requests=requests)
    assert 0.35 < hits(split, learned) <= expected.mean() + 4 * error


def test_no_file_is_needed_and_every_machine_makes_the_same(tmp_path: Path) -> None:
    card = cards.find("synthetic", None)
    files = locate(card, data_dir=None, cache=tmp_path, offline=True, report=Silent())
    assert dict(files.sha256) == {part: file.sha256 for part, file in card.sources[0].files.items()}
    assert {path.parent for path in files.paths.values()} == {tmp_path / "raw" / "synthetic"}
    assert sorted(path.name for path in (tmp_path / "raw" / "synthetic").iterdir()) == [
        "interactions.csv",
        "items.csv",
    ]


@pytest.mark.parametrize("name", ["ilrec", "soft", "candidates", "temporal"])
def test_every_protocol_can_be_tried_on_it(cache: Path, name: str) -> None:
    made = prepare(cards.find("synthetic", None), get_protocol(name), cache=cache, data_dir=None)
    requests = load_requests(made.folder, "test", exclude_seen=get_protocol(name).exclude_seen)
    assert len(requests) == made.statistics.requests["test"] > 100
    assert (requests.history.lengths > 0).all()
    assert (requests.allowed is not None) == (name == "candidates")
    assert (requests.excluded is not None) == (name == "soft")
    assert (load_training(made.folder).sample is not None) == (name == "soft")
