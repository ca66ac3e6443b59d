from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbench.data import Catalogue
from recbench.errors import DataError
from recbench.llm.embeddings import tfidf_svd
from recbench.llm.identifiers import (
    count_collided,
    make_identifiers,
    residual_kmeans,
    resolve_collisions,
    shared_identifiers,
)
from recbench.settings import IdentifierSettings
from recbench.stages import StageCache
from recbench.testing import toy_data


def test_residual_kmeans_tells_coarse_groups_apart_at_the_first_level_and_fine_ones_at_the_second() -> None:
    coarse, fine = np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([[0.0, 1.0], [0.0, -1.0]])
    vectors = np.array([c + f for c in coarse for f in fine], dtype=np.float32)
    codes = residual_kmeans(vectors, levels=2, codes=2, seed=0)
    assert codes[0, 0] == codes[1, 0] != codes[2, 0] == codes[3, 0]
    assert codes[0, 1] == codes[2, 1] != codes[1, 1] == codes[3, 1]


def test_collisions_are_resolved_with_the_lowest_free_last_code() -> None:
    codes = np.array([[0, 1], [0, 1], [0, 0], [0, 1], [1, 1]])
    resolved, moved = resolve_collisions(codes, num_codes=4)
    assert resolved.tolist() == [[0, 1], [0, 2], [0, 0], [0, 3], [1, 1]]
    assert moved == 2


def test_a_prefix_without_a_free_code_goes_on_sharing_and_is_counted() -> None:
    resolved, moved = resolve_collisions(np.array([[0, 0], [0, 0], [0, 0]]), num_codes=2)
    assert resolved.tolist() == [[0, 0], [0, 1], [0, 0]]
    assert moved == 1
    assert count_collided(resolved) == 2


def test_shared_codes_stay_shared_when_asked() -> None:
    catalogue = Catalogue(
        item_ids=("a", "b", "c"),
        titles=("red lamp", "red lamp", "blue boat"),
        categories=("", "", ""),
        popularity=np.zeros(3, dtype=np.int64),
    )
    shared = make_identifiers(catalogue, IdentifierSettings(codes=4, levels=2, collisions="share"))
    resolved = make_identifiers(catalogue, IdentifierSettings(codes=4, levels=2, collisions="resolve"))
    assert shared.codes[0].tolist() == shared.codes[1].tolist()
    assert shared.num_collided == 2
    assert resolved.num_collided == 0


def test_items_of_one_category_are_nearer_than_items_of_two() -> None:
    data = toy_data(num_items=30)
    vectors = tfidf_svd(data.catalogue, dim=16, seed=0)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(30), abs=1e-5)
    assert vectors[0] @ vectors[10] > vectors[0] @ vectors[5]  # both are lamps


def test_a_catalogue_without_text_is_refused() -> None:
    catalogue = Catalogue(
        item_ids=("a",), titles=("",), categories=("",), popularity=np.zeros(1, dtype=np.int64)
    )
    with pytest.raises(DataError, match="no item of this data set has a title"):
        tfidf_svd(catalogue, dim=4, seed=0)


def test_identifiers_are_made_once_and_read_back_equal(tmp_path: Path) -> None:
    catalogue, stages = toy_data().catalogue, StageCache(tmp_path)
    settings = IdentifierSettings(codes=8)
    first = shared_identifiers(catalogue, settings, catalogue_digest="c", stages=stages)
    again = shared_identifiers(catalogue, settings, catalogue_digest="c", stages=StageCache(tmp_path))
    other = shared_identifiers(catalogue, IdentifierSettings(codes=4), catalogue_digest="c", stages=stages)
    assert first.digest == again.digest == make_identifiers(catalogue, settings).digest
    assert other.digest != first.digest
    assert len(list((tmp_path / "identifiers").iterdir())) == 2


def test_the_vocabulary_names_exactly_the_codes_that_items_use() -> None:
    identifiers = make_identifiers(toy_data().catalogue, IdentifierSettings(codes=8))
    used = {token for row in identifiers.tokens() for token in row}
    assert set(identifiers.vocabulary()) == used
