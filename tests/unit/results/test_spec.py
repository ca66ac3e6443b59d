from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from recbench.results.spec import FitSpec, RunSpec

FIT = FitSpec(
    method="ilrec",
    method_version=1,
    params={"beta": 0.1, "alpha": [1, 2]},
    dataset="toy",
    split="s" * 64,
    limit_users=None,
    llm={"backbone": "tiny"},
    parent=None,
    seed=0,
)
RUN = RunSpec(fit=FIT, ranker={"name": "exact", "width": 32}, protocol={"name": "ilrec"})


def test_an_id_is_twelve_hex_digits_and_does_not_depend_on_the_order_of_keys() -> None:
    turned = replace(FIT, params={"alpha": [1, 2], "beta": 0.1})
    assert turned.id == FIT.id
    assert len(FIT.id) == 12
    assert set(FIT.id) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "change",
    [
        {"method": "sft"},
        {"method_version": 2},
        {"params": {"beta": 0.2, "alpha": [1, 2]}},
        {"dataset": "other"},
        {"split": "t" * 64},
        {"limit_users": 10},
        {"llm": None},
        {"parent": "abc"},
        {"seed": 1},
    ],
)
def test_everything_that_can_change_a_number_changes_the_fit_and_its_runs(change: dict[str, Any]) -> None:
    other = replace(FIT, **change)
    assert other.id != FIT.id
    assert replace(RUN, fit=other).id != RUN.id


@pytest.mark.parametrize("change", [{"ranker": None}, {"protocol": {"name": "soft"}}, {"phase": "valid"}])
def test_ranking_and_evaluation_change_the_run_alone(change: dict[str, Any]) -> None:
    other = replace(RUN, **change)
    assert other.id != RUN.id
    assert other.fit.id == RUN.fit.id


def test_a_spec_survives_json_and_its_ids_are_computed_again() -> None:
    record = json.loads(json.dumps(RUN.to_json()))
    assert RunSpec.from_json({**record, "id": "000000000000"}).id == RUN.id == record["id"]
