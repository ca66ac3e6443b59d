"""The measures of SPRec and Flower on lists small enough to count by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.data import Catalogue, Ragged, Requests
from recbench.results.exposure.groups import by_category, by_popularity, gaps
from recbench.results.exposure.measures import exposure, had_before, item_facts

A, B, C, D = range(4)
CDS = [0.429191, 0.170719, 0.118092, 0.090899, 0.071239, 0.056427, 0.041347, 0.022087]
"""Flower's shares of its eight popularity groups in the histories of CDs."""


def catalogue(categories: list[str], *, titles: list[str] | None = None) -> Catalogue:
    size = len(categories)
    return Catalogue(
        item_ids=tuple(map(str, range(size))),
        titles=tuple(titles or [f"t{item}" for item in range(size)]),
        categories=tuple(categories),
        popularity=np.arange(size, 0, -1),
    )


def requests(histories: Sequence[tuple[int, ...]]) -> Requests:
    past = Ragged.of(histories)
    return Requests(user=np.arange(len(histories)), history=past, excluded=past)


def means(
    items: Sequence[tuple[int, ...]], asked: Requests, known: Catalogue, cutoff: int
) -> dict[str, float]:
    found = exposure(np.array(items), asked, item_facts(known), [cutoff], resamples=20)
    return {name.partition("@")[0]: one["mean"] for name, one in found.items()}


def test_genres_of_sprecs_example() -> None:
    # histories: x 2, y 3, z 0 of 5; lists: x 3.5, y 1.5, z 1 of 6; d = .183333, -.35, .166667
    known = catalogue(["x", "x y", "y", "z"])
    found = means([(A, D), (A, B), (C, A)], requests([(A, B), (C,), (B, C)]), known, 2)
    assert found["dgu"] == pytest.approx(0.533333, abs=1e-6)
    assert found["mgu"] == pytest.approx(0.233333, abs=1e-6)
    assert found["div_ratio"] == pytest.approx(4 / 6)
    assert found["or_ratio"] == pytest.approx(5 / 6)  # A three times, two others once
    assert found["seen"] == pytest.approx(2 / 6)  # A in the first list, none in the second, C in the third


def test_popularity_groups_and_words_of_flowers_example() -> None:
    lists = [(0, 1, 2, 3), (0, 1, 4, 5), (0, 0, 6, 7), (0, 1, 2, 7)]
    groups = by_popularity(np.arange(8, 0, -1))
    mass = groups.mass(np.bincount(np.ravel(lists), minlength=8))
    assert (mass / mass.sum()).tolist() == [0.3125, 0.1875, 0.125, 0.0625, 0.0625, 0.0625, 0.0625, 0.125]
    assert gaps(mass, np.array(CDS)) == pytest.approx((0.219604, 0.038457), abs=1e-6)
    found = means(lists, requests([(0,)] * 4), catalogue([""] * 8), 4)
    assert found["word_entropy"] == pytest.approx(2.727217, abs=1e-6)
    assert (found["ttr"], found["distinct_titles"]) == (0.5, 8)
    assert "dgu" not in found  # no item has a category


def test_a_padded_place_holds_no_item_and_stays_a_place() -> None:
    found = means([(0, -1), (0, 1)], requests([(0,), (2,)]), catalogue(["x", "y", "x"]), 2)
    assert found["div_ratio"] == 2 / 4
    assert found["or_ratio"] == 3 / 4
    assert found["seen"] == pytest.approx(1 / 3)  # of the items that are ranked
    # lists x 2, y 1 of 3; histories x 2 of 2
    assert found["dgu"] == pytest.approx(2 / 3)


def test_a_path_counts_by_its_second_level() -> None:
    groups = by_category(["Books > Crime > Nordic", "Books", "Books > Crime", "loud noise", ""])
    assert groups.mass(np.ones(5)).tolist() == [1.0, 2.0, 0.5, 0.5]  # Books, Crime, loud, noise
    paths = by_category(["Books > Crime > Nordic", "Books > Music"], level=1)
    assert paths.mass(np.array([1, 3])).tolist() == [4.0]
    short = by_category(["Books > Crime"], level=3)
    assert short.mass(np.array([2])).tolist() == [2.0]


def test_popularity_groups_have_equally_many_items_and_ties_keep_the_catalogues_order() -> None:
    groups = by_popularity(np.array([1, 9, 1, 5, 1, 1, 1, 1, 1, 1]), count=5)
    members = [groups.item[groups.group == group].tolist() for group in range(5)]
    assert members == [[1, 3], [0, 2], [4, 5], [6, 7], [8, 9]]


def test_lists_like_the_histories_have_no_gap() -> None:
    past = [(0, 1), (2, 3), (4, 5), (6, 7)]
    found = means(past, requests(past), catalogue(["x", "y", "x y", "z", "z", "y", "x", "x"]), 2)
    assert [found[name] for name in ("dgu", "mgu", "dgu_pop", "mgu_pop")] == [0.0] * 4
    assert found["seen"] == 1.0


def test_what_was_had_is_of_the_user_alone() -> None:
    asked = Requests(user=np.arange(2), history=Ragged.of([(1,), (2,)]), excluded=Ragged.of([(0, 1), (2,)]))
    assert had_before(np.array([[0, 2], [0, -1]]), asked).tolist() == [[True, False], [False, False]]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=30))
def test_gaps_are_bounded_and_intervals_hold_their_measure(pairs: list[tuple[int, int]]) -> None:
    known = catalogue([f"c{item % 3}" for item in range(10)])
    found = exposure(
        np.array(pairs), requests([pair[::-1] for pair in pairs]), item_facts(known), [1, 2], resamples=30
    )
    assert 0 <= found["dgu@1"]["mean"] <= 2
    assert found["mgu@2"]["mean"] <= found["dgu@2"]["mean"] + 1e-12
    assert 0 < found["div_ratio@2"]["mean"] <= found["or_ratio@2"]["mean"] * 10 / 3 + 1e-12
    assert all(one["low"] <= one["high"] for one in found.values())


def test_the_interval_holds_where_a_percentile_of_resamples_never_does() -> None:
    """A resample repeats requests, so hardly one has as many distinct items as the lists themselves."""
    rng = np.random.default_rng(3)
    share = 1 / np.arange(1, 101)
    facts = item_facts(catalogue(["x"] * 100))
    runs = []
    for _ in range(60):
        items = np.array([rng.choice(100, 5, replace=False, p=share / share.sum()) for _ in range(60)])
        found = exposure(items, requests([(0,)] * 60), facts, [5], resamples=100)
        runs.append(found["div_ratio@5"])
    truth = np.mean([run["mean"] for run in runs])
    held = np.mean([run["low"] <= truth <= run["high"] for run in runs])
    assert held >= 0.8
