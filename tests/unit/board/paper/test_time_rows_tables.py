"""MiniOneRec's tables, whose requests are rows in time: floors and runs beside them, errors by user."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recbench.board.paper.floors import floors
from recbench.board.paper.published import published
from recbench.board.paper.reproduce import reproduce
from recbench.board.paper.text import commands, floor_summary
from recbench.comparison import significance
from recbench.protocol import get_protocol
from recbench.results.metrics import by_user
from tests.unit.conftest import MakeBundle

TABLE = published("minionerec-table1")
USERS = np.repeat(np.arange(50), np.arange(50) % 4 + 1)
RANKS = np.where(USERS % 5 == 0, 1, 0)
OFFICE: dict[str, Any] = {
    "dataset": "office",
    "users": [f"u{user}" for user in USERS],
    "protocol": get_protocol("time-rows").evaluation_part(),
    "statistics": {"users": 7000, "items": 3459, "interactions": 55_656},
}


def test_none_of_the_tables_is_a_claim() -> None:
    tables = [published(f"minionerec-table{number}") for number in (1, 2, 3)]
    assert {one.verdict for table in tables for one in reproduce(table, [])} == {"not run"}
    assert not any(table.claim for table in tables)
    assert published("minionerec-rerun").claim
    made = commands(TABLE)
    assert "recbench run -m gru4rec -m caser -m sasrec -d office --protocol time-rows --seeds 5" in made
    assert "-b BACKBONE" in made[1]  # the paper does not say which
    assert not any(name in " ".join(made) for name in ("tiger", "hstu", "d3", "lc-rec", "minionerec"))


def test_a_floor_with_the_counted_items_and_rows_stands_beside_it(make_bundle: MakeBundle) -> None:
    run = make_bundle("transition", RANKS.tolist(), seed=None, **OFFICE)
    found = {one.metric: one for one in floors(TABLE, [run])}
    rate = float((RANKS > 0).mean())
    assert found["hr@10"].ours.value == pytest.approx(rate)
    error = significance.paired_t(by_user((RANKS > 0).astype(float), USERS)).standard_error
    assert found["hr@10"].ours.high is not None
    assert (found["hr@10"].ours.high - rate) / error == pytest.approx(2.0096, rel=1e-4)  # t of 49 degrees
    assert found["hr@10"].printed == 10
    assert len(found["hr@10"].above) == 10
    sentences = " ".join(floor_summary(TABLE, list(found.values())))
    assert "an untrained table of transitions is above 10 of 10 printed rows (ndcg@10" in sentences


@pytest.mark.parametrize("counts", [{"items": 3460}, {"interactions": 55_655}, {"users": 6999}])
def test_other_data_stand_beside_nothing(make_bundle: MakeBundle, counts: dict[str, int]) -> None:
    other = {**OFFICE, "statistics": OFFICE["statistics"] | counts}
    assert floors(TABLE, [make_bundle("transition", RANKS.tolist(), seed=None, **other)]) == []
    ilrec = {**OFFICE, "protocol": get_protocol("ilrec").evaluation_part(), "users": None}
    assert floors(TABLE, [make_bundle("transition", RANKS.tolist(), seed=None, **ilrec)]) == []
