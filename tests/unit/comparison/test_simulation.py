"""The recorded simulation of the tests: what is documented is what was recorded, and it keeps the bounds."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.unit.comparison.scripts import load


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    return load("simulate_tests")


@pytest.fixture(scope="module")
def record(simulation: ModuleType) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads(simulation.OUT.read_text())
    return results


def test_the_documented_table_is_the_record(simulation: ModuleType, record: list[dict[str, Any]]) -> None:
    assert simulation.table(record) in simulation.DOCS.read_text()


def test_every_setting_has_all_its_repeats(simulation: ModuleType, record: list[dict[str, Any]]) -> None:
    found = {json.dumps(one["setting"], sort_keys=True): one["repeats"] for one in record}
    wanted = {json.dumps(asdict(one), sort_keys=True): 10_000 for one in simulation.settings()}
    assert found == wanted


def test_no_default_test_claims_more_than_its_bound(record: list[dict[str, Any]]) -> None:
    for one in record:
        setting, repeats = one["setting"], one["repeats"]
        if setting["gain"]:
            continue
        rates = {name: count / repeats for name, count in one["claims"].items()}
        if setting["num_seeds"] == 1:
            bound = 0.06 if setting["num_users"] == 5000 else 0.065
            assert max(rates["paired t"], rates["sign-flip"]) <= bound
            assert rates["McNemar exact, HR@10"] <= 0.055
        else:
            bound = 0.065 if setting["num_seeds"] >= 10 else 0.075
            assert rates["crossed-variance t"] <= bound


def test_pooling_users_and_seeds_breaks_the_bound(record: list[dict[str, Any]]) -> None:
    rates = [
        one["claims"]["naive: users x seeds pooled"] / one["repeats"]
        for one in record
        if one["setting"]["num_seeds"] >= 5 and not one["setting"]["joint"] and not one["setting"]["gain"]
    ]
    assert len(rates) == 4
    assert min(rates) > 0.075


def test_a_drawn_method_has_the_mean_and_the_spread_of_its_setting(simulation: ModuleType) -> None:
    setting = simulation.Setting(num_users=4000, hit_rate=0.1, num_seeds=300, seed_sd=0.01)
    a, b = simulation.draw(setting, simulation.chances_of(0.1), np.random.default_rng(0))
    mean = 0.1 * simulation.GAINS_DRAWN.mean()
    # the spread of 300 seed means is known to 1/sqrt(600) = 4 %, and hits add some of their own
    assert a.mean() == pytest.approx(mean, rel=0.1)
    assert np.sqrt(a.mean(1).var() + b.mean(1).var()) == pytest.approx(0.01 * np.sqrt(2), rel=0.15)
