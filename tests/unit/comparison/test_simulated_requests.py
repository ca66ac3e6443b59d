"""The recorded simulation of users who ask repeatedly: documented as recorded, and within its bounds."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from recbench.comparison import significance
from tests.unit.comparison.scripts import load


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    return load("simulate_requests")


@pytest.fixture(scope="module")
def record(simulation: ModuleType) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads(simulation.OUT.read_text())
    return results


def rates(record: list[dict[str, Any]], *, gain: float = 0.0) -> dict[tuple[Any, ...], dict[str, float]]:
    return {
        (one["setting"]["num_users"], one["setting"]["asks"], one["setting"]["num_seeds"]): {
            name: count / one["repeats"] for name, count in one["claims"].items()
        }
        for one in record
        if one["setting"]["gain"] == gain
    }


def test_the_documented_table_is_the_record(simulation: ModuleType, record: list[dict[str, Any]]) -> None:
    assert simulation.table(record) in simulation.DOCS.read_text()
    assert [one["setting"] for one in record] == [asdict(one) for one in simulation.SETTINGS]
    assert {one["repeats"] for one in record} == {simulation.REPEATS}


def test_the_drawn_numbers_of_requests_are_those_of_the_published_sets(simulation: ModuleType) -> None:
    rng = np.random.default_rng(0)
    tail = simulation.Setting(num_users=20_000, asks="tail")
    counts = np.bincount(simulation.asking(tail, rng))
    assert counts.mean() == pytest.approx(4533 / 1987, rel=0.03)
    assert (counts > 1).mean() == pytest.approx(1034 / 1987, rel=0.03)
    assert counts[counts > 1].mean() == pytest.approx(3580 / 1034, rel=0.03)


def test_its_sign_flips_are_those_of_the_package(simulation: ModuleType) -> None:
    rng = np.random.default_rng(3)
    sums = rng.normal(0.05, 1, 300)
    signs = np.where(rng.integers(0, 2, (20_000, 300)) == 1, 1.0, -1.0)
    assert simulation.flipped(sums, signs) == pytest.approx(
        significance.sign_flip(sums, resamples=20_000), abs=0.015
    )


def test_errors_of_users_keep_the_bound_and_those_of_requests_do_not(record: list[dict[str, Any]]) -> None:
    found = rates(record)
    assert len(found) == 9
    for setting, tests in found.items():
        bound = 0.065 if setting[0] == 50 else 0.06
        assert tests["t of users"] <= bound, setting
        assert tests.get("sign-flip by user", 0.0) <= bound, setting
        if setting[1] == "tail" and setting[2] != 3:
            assert tests["naive: t of requests"] > 0.07, setting
    assert found[2000, "heavy", 1]["naive: t of requests"] > 0.15
    assert found[2000, "heavy", 1]["naive: McNemar of requests, HR@10"] > 0.15
    assert min(tests["t of users"] for tests in rates(record, gain=0.1).values()) > 0.15
