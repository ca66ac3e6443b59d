"""Floors beside the papers' tables, on a made-up root and by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from recbench.board.paper.floors import FLOORS, Floor, floors, measured
from recbench.board.paper.published import published
from recbench.board.paper.text import OF_FLOORS, floor_line, floor_summary
from recbench.cli import main
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]
INSTRUMENT: dict[str, Any] = {
    "dataset": "instrument",
    "seed": None,
    "statistics": {"users": 24772, "items": 9922, "interactions": 206153},
}
GAME: dict[str, Any] = {
    "dataset": "soft-game",
    "seed": None,
    "statistics": {"users": 11658, "items": 5335, "interactions": 196508},
    "protocol": {"name": "soft"},
}


def hits(number: int, users: int, rank: int = 1) -> list[int]:
    return [rank] * number + [0] * (users - number)


def by_metric(found: Sequence[Floor]) -> dict[str, Floor]:
    return {one.metric: one for one in found}


def test_a_floor_is_above_the_printed_rows_below_it(make_bundle: MakeBundle) -> None:
    run = make_bundle("transition", hits(10, 100), **INSTRUMENT)
    found = by_metric(floors(published("ilrec-table1"), [run]))
    # 0.1 by each metric; nine HR@10 are printed above it, the least is that of SFT in titles, 0.1004
    assert found["hr@10"].ours.value == pytest.approx(0.1)
    assert found["hr@10"].above == ["caser, none", "gru4rec, none", "sasrec, none", "rosepo, title"]
    assert {name: (len(one.above), one.printed) for name, one in found.items()} == {
        "hr@5": (13, 13),
        "hr@10": (4, 13),
        "ndcg@5": (13, 13),
        "ndcg@10": (13, 13),
    }
    assert {(one.method, one.dataset, one.run) for one in found.values()} == {
        ("transition", "instrument", run.id)
    }


def test_the_metrics_are_those_of_the_ranks(make_bundle: MakeBundle) -> None:
    # rank 7 is outside of the first five, and has an NDCG of 1 / log2(8)
    run = make_bundle("itemknn", hits(15, 100, rank=7), **INSTRUMENT)
    found = by_metric(floors(published("ilrec-table1"), [run]))
    assert [len(found[name].above) for name in ("hr@5", "hr@10", "ndcg@5")] == [0, 13, 0]
    assert found["ndcg@10"].ours.value == pytest.approx(0.05)
    assert found["ndcg@10"].above == ["caser, none"]  # 0.0334; SASRec has 0.0502


def test_an_equal_row_is_not_below(make_bundle: MakeBundle) -> None:
    run = make_bundle("popularity", hits(15, 1000), **GAME)
    found = by_metric(floors(published("soft-table2"), [run]))
    # three rows print 0.015; 0.014, 0.013, 0.011 and 0.012 are less
    assert found["hr@5"].above == ["llm-cf, none", "sft, title", "sft, hybrid", "sdpo, hybrid"]
    assert found["hr@5"].printed == 12


@pytest.mark.parametrize(
    "changed",
    [
        {"protocol": {"name": "temporal"}},
        {"statistics": {"users": 24772, "items": 9922, "interactions": 206152}},
        {"statistics": {}},
        {"params": {"lags": 1}},
        {"off_protocol": True},
        {"phase": "valid"},
        {"dataset": "toys"},
    ],
)
def test_other_data_protocols_and_parameters_stand_beside_nothing(
    make_bundle: MakeBundle, changed: dict[str, Any]
) -> None:
    run = make_bundle("transition", hits(10, 100), **{**INSTRUMENT, **changed})
    assert floors(published("ilrec-table1"), [run]) == []


def test_a_trained_method_is_no_floor(make_bundle: MakeBundle) -> None:
    run = make_bundle("sasrec", hits(10, 100), **{**INSTRUMENT, "seed": 0})
    assert floors(published("ilrec-table1"), [run]) == []


def test_a_floor_stands_beside_the_tables_of_its_data_alone(make_bundle: MakeBundle) -> None:
    runs = [
        make_bundle("transition", hits(10, 100), **INSTRUMENT),
        make_bundle("transition", hits(15, 1000), **GAME),
    ]
    for table, datasets, printed in (
        ("ilrec-table1", {"instrument"}, 13),
        ("ilrec-table2", {"instrument"}, 12),
        ("ilrec-table4", {"instrument"}, 6),
        ("ilrec-table6", {"instrument"}, 11),
        ("soft-table2", {"soft-game"}, 12),
        ("ilrec-table3", set(), 0),  # counts
        ("ilrec-table5", set(), 0),  # hours
    ):
        found = floors(published(table), runs)
        assert {one.dataset for one in found} == datasets
        assert {one.printed for one in found} <= {printed}


def test_no_floor_stands_beside_a_claim(make_bundle: MakeBundle) -> None:
    """MSL's Toy has the counts of `toys`, and other requests."""
    counts = {"users": 19124, "items": 11758, "interactions": 165247}
    run = make_bundle("transition", hits(10, 100), seed=None, dataset="toys", statistics=counts)
    table = published("msl-table5")
    assert floors(table, [run]) == []
    assert floor_summary(table, []) == []


def test_of_two_versions_the_later_is_shown(make_bundle: MakeBundle) -> None:
    times = [
        {"started": f"2026-01-0{day}T00:00:00", "finished": f"2026-01-0{day}T00:01:00"} for day in (2, 1)
    ]
    later, earlier = (
        make_bundle("transition", hits(number, 100), fit_params={"beta": number}, timings=time, **INSTRUMENT)
        for number, time in zip((10, 20), times, strict=True)
    )
    found = floors(published("ilrec-table1"), [later, earlier])
    assert {one.run for one in found} == {later.id}


def test_a_sentence_for_each_floor_and_the_command_of_the_others(make_bundle: MakeBundle) -> None:
    table = published("ilrec-table1")
    found = floors(table, [make_bundle("transition", hits(15, 100, rank=7), **INSTRUMENT)])
    every = " ".join(f"-m {name}" for name in FLOORS)
    assert floor_summary(table, found) == [
        "instrument: an untrained table of transitions is above 1 of 13 printed rows (ndcg@10 0.0500)",
        "floors of instrument: recbench run -m popularity -m itemknn -d instrument --protocol ilrec",
        f"floors of art: recbench run {every} -d art --protocol ilrec",
        f"floors of game: recbench run {every} -d game --protocol ilrec",
    ]
    shown = floor_line(by_metric(found)["hr@5"])
    assert shown == ["transition", "hr@5", "0.0000", "0 of 13 printed rows"]
    assert len(shown) == len(OF_FLOORS)
    assert list(measured(table)) == ["instrument", "art", "game"]


def test_the_command_shows_them(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_bundle("transition", hits(10, 100), **INSTRUMENT)
    said = []
    for words in ([], ["--json"]):
        with pytest.raises(SystemExit) as end:
            main(["reproduce", "ilrec-table2", *words, "--root", str(tmp_path)])
        assert not end.value.code
        said.append(capsys.readouterr().out)
    # of twelve NDCG@10 on instrument none is above 0.1; of the HR@10 only 0.0996 is below
    assert "instrument: an untrained table of transitions is above 12 of 12 printed rows" in said[0]
    assert "instrument, floors" in said[0]
    first = json.loads(said[1])["floors"][0]
    assert (first["metric"], first["above"], first["run"]) == ("hr@10", ["ilrec w/o CPT, title"], run.id)
