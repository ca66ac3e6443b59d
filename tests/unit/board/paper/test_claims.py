"""Tables that no run here can stand beside."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from recbench.board.paper.printed import printed_tables
from recbench.board.paper.published import PaperRow, PaperTable, every_table, published
from recbench.board.paper.reproduce import reproduce
from recbench.board.paper.text import OF_CLAIMS, claim_line, legend, summary
from recbench.cli import main
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]


def claims() -> list[PaperTable]:
    return [table for table in every_table() if table.claim]


MINIONEREC = [published(f"minionerec-table{number}") for number in (1, 2, 3)]
"""Not claims: protocol time-rows has their requests."""


def row(table: str, *wanted: str) -> PaperRow:
    [found] = [
        one for one in published(table).rows if (one.dataset, one.paradigm, one.method, one.variant) == wanted
    ]
    return found


def test_every_claim_is_there_and_whole() -> None:
    # methods x datasets x metrics
    assert {table.name: len(reproduce(table, [])) for table in claims()} == {
        "msl-table3": 2 * 2 * 2,
        "msl-table4": 4 * 3,
        "msl-table5": (3 + 2 + 3 * 3) * 4 * 4,  # without a language model, helped by it, losses
        "msl-table6": 7 * 4,
        "msl-table7": 4,
        "msl-efficiency": 2,
        "msl-readme": 3 * 3 * 4,
        "msl-rerun": 4,
        "minionerec-rerun": 3 * 6,
        "d3-readme": 5 * 2,
        "tawin-note": 2 * 4,
        "igd-gains": 2 * 2,
        "igd-tokens": 1,
        "tgh-gains": 2,
    }


def test_what_was_not_read_is_not_there() -> None:
    record = tomllib.loads((files("recbench.board.paper") / "claims.toml").read_text(encoding="utf-8"))
    assert set(record["papers"]) == {"msl", "d3", "igd", "tawin", "tgh"}
    methods = {one.method for table in claims() for one in table.rows}
    assert not methods & {"cft", "dynamicpo", "napo", "rodpo"}
    # ReRe has no table of its own, one metric of another paper's baseline is known
    rere = {(table.name, *one.values) for table in claims() for one in table.rows if one.method == "rere"}
    assert rere == {("tawin-note", "hr@3")}


def test_numbers_as_printed() -> None:
    bigrec = row("msl-table5", "toys", "bigrec", "msl", "")
    assert bigrec.values == {"hr@5": 0.0357, "hr@10": 0.0488, "ndcg@5": 0.0245, "ndcg@10": 0.0288}
    best = row("minionerec-table1", "industrial", "semantic-id", "minionerec", "")
    assert list(best.values.values()) == [0.1143, 0.1321, 0.1586, 0.1011, 0.1084, 0.1167]
    assert row("d3-readme", "d3-games", "title", "d3", "").values == {"hr@10": 0.085, "ndcg@10": 0.052}
    assert row("tawin-note", "tawin-toys", "title", "tawin", "").values == {"hr@3": 0.0761}
    assert list(row("igd-gains", "average", "any", "igd", "over BIGRec").values.values()) == [20.9, 21.5]


def test_cells_that_are_printed_twice_agree() -> None:
    for data in ("toys", "msl-book", "msl-clothing", "msl-office"):
        for six, five in ((("sft", ""), ("sft", "")), (("msl", "ATS"), ("msl", ""))):
            twice = [row("msl-table6", data, "bigrec", *six), row("msl-table5", data, "bigrec", *five)]
            assert twice[0].values["ndcg@10"] == twice[1].values["ndcg@10"]
    for data in ("toys", "msl-book", "msl-clothing"):
        readme = row("msl-readme", data, "bigrec", "msl", "ATS, masked after softmax")
        assert readme.values == row("msl-table5", data, "bigrec", "msl", "").values
    office = ("office", "semantic-id", "minionerec", "")
    assert row("minionerec-table3", *office).values == row("minionerec-table1", *office).values
    # and one that does not, of which a note says so
    other = ("industrial", "semantic-id", "minionerec", "")
    assert row("minionerec-table3", *other).values != row("minionerec-table1", *other).values
    assert "another one than in table 1" in published("minionerec-table3").notes[0]


def test_the_impossible_rows_are_marked() -> None:
    marked = {
        (table.name, one.dataset, one.method)
        for table in [*claims(), *MINIONEREC]
        for one in reproduce(table, [])
        if one.impossible
    }
    assert marked == {
        ("msl-table5", "msl-office", "dllm2rec"),  # 0.0061 from 5 to 10, at least 0.0265 / log2(11) = 0.0077
        ("minionerec-table1", "industrial", "hstu"),
        ("minionerec-table1", "industrial", "d3"),  # NDCG@5 below NDCG@3
        ("minionerec-table1", "office", "tiger"),
        ("minionerec-table1", "office", "sdpo"),
    }


def test_no_run_stands_beside_a_claim(make_bundle: MakeBundle) -> None:
    counts = {"users": 19124, "items": 11758, "interactions": 165247}
    run = make_bundle("sasrec", [1, 0], dataset="toys", statistics=counts)
    for name in ("msl-table4", "msl-table5"):
        cells = reproduce(published(name), [run])
        assert {(one.verdict, one.ours) for one in cells} == {("not run", None)}
    assert not {table.name for table in printed_tables()} & {table.name for table in claims()}


def test_a_gain_is_above_the_sft_of_the_same_block() -> None:
    found = {
        (one.dataset, one.paradigm, one.method): one
        for one in reproduce(published("msl-table5"), [])
        if one.metric == "ndcg@10"
    }
    assert found["toys", "llara", "msl"].gain_published == pytest.approx(0.0283 - 0.0193)
    assert found["toys", "none", "sasrec"].gain_published is None
    assert claim_line(found["toys", "llara", "msl"]) == ["msl", "ndcg@10", "0.0283", "+0.0090"]
    assert len(OF_CLAIMS) == 4


def test_the_command_says_why_nothing_is_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recbench.toml").touch()
    said = []
    for words in ([], ["--json"]):
        with pytest.raises(SystemExit) as end:
            main(["reproduce", "msl-table5", *words, "--root", str(tmp_path)])
        assert not end.value.code
        said.append(capsys.readouterr().out)
    table = published("msl-table5")
    assert f"224 cells, as claims: {table.claim}" in said[0]
    assert "recbench run" not in said[0]
    assert "0.0504 !" in said[0]
    record = json.loads(said[1])
    assert (record["claim"], record["commands"], record["floors"]) == (table.claim, [], [])
    cells = reproduce(table, [])
    assert summary(table, cells)[1:] == list(table.notes)
    assert legend(table, cells) == ["! HR and NDCG of this row as printed cannot both come from one ranking"]
