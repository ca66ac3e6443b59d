"""The page over all boards, and the line on what leave-one-out lets a method know."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.board import build, overview
from recbench.board import folder as records
from recbench.board.leakage import commands, leakage, leakage_and_remedy
from recbench.errors import CheckError
from recbench.protocol import get_protocol
from recbench.results.bundle import Bundle

from .accessibility import findings

MakeBundle = Callable[..., Bundle]
LLM = {"paradigm": "semantic-id", "backbone": "tiny"}
TEMPORAL = get_protocol("temporal").evaluation_part()


def runs(make_bundle: MakeBundle, *, temporal: bool = False, flip: bool = False) -> list[Bundle]:
    """Three methods; on the temporal twin in the same order, or with the first two changed."""
    places = {"ilrec": [1, 1, 1, 1], "sft": [1, 1, 2, 0], "popularity": [0, 0, 0, 3]}
    if flip:
        places["ilrec"], places["sft"] = places["sft"], places["ilrec"]
    options = {"protocol": TEMPORAL, "digests": {"split": "tt"}} if temporal else {}
    return [
        make_bundle(name, found, llm=None if name == "popularity" else LLM, **options)
        for name, found in places.items()
    ]


def board(boards: Path, name: str, made: list[Bundle]) -> Path:
    records.write(boards / name, build.build(made, command=f"recbench leaderboard build {name}"), made)
    return boards / name


def page(boards: Path) -> str:
    return (boards / "index.html").read_text()


def test_every_board_has_a_line_with_its_answer_and_the_last_build_counts(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    boards = tmp_path / "leaderboards"
    made = runs(make_bundle)
    board(boards, "one", made)
    assert '<a href="one/index.html">one</a>' in page(boards)
    assert "toy, ilrec v1" in page(boards)
    assert "3 methods, 3 rows, 1 seed<" in page(boards)
    assert "2026-01-01" in page(boards)
    assert "recbench verify one" in page(boards)
    records.mark(boards / "one", records.check(boards / "one"), ["recbench 1 verified 3 runs"])
    assert "recbench 1 verified 3 runs" in page(boards)
    other = board(boards, "two", made[1:])
    assert page(boards).count('role="row"') == 3
    records.check(other)
    (boards / "index.html").write_text(page(boards).replace("4 requests", "5 requests", 1))
    with pytest.raises(CheckError) as caught:
        records.check(other)
    assert caught.value.why == "index.html over all boards is not what they give"


def test_a_local_board_is_on_no_page(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = board(tmp_path / "leaderboards", "local", runs(make_bundle))
    assert not (folder.parent / "index.html").exists()
    records.check(folder)


def test_boards_that_cannot_be_read_and_studies_without_runs_are_named(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    boards = tmp_path / "leaderboards"
    for name, text in (("torn", "{"), ("old", '{"schema": 1}')):
        (boards / name).mkdir(parents=True)
        (boards / name / "board.json").write_text(text)
    (boards / "planned").mkdir()
    (boards / "planned" / "study.toml").write_text("")
    folder = board(boards, "whole", runs(make_bundle))
    hollow = json.loads((folder / "board.json").read_text())
    hollow["tables"][0]["views"] = {}
    (boards / "hollow").mkdir()
    (boards / "hollow" / "board.json").write_text(json.dumps(hollow))
    overview.write(boards)
    for said in (
        "torn: its board.json cannot be read; recbench leaderboard build torn makes it again",
        "old: its board.json cannot be read",
        "recbench run --study planned",
        'href="whole/index.html"',
    ):
        assert said in page(boards), said


def test_a_name_of_a_data_set_is_text_on_the_page(make_bundle: MakeBundle, tmp_path: Path) -> None:
    board(tmp_path / "leaderboards", "one", [make_bundle("sft", [1, 2], dataset="<img src=x>")])
    assert "<img" not in page(tmp_path / "leaderboards")
    assert "&lt;img src=x&gt;" in page(tmp_path / "leaderboards")


def test_leave_one_out_points_to_its_temporal_twin_or_says_how_to_make_it(make_bundle: MakeBundle) -> None:
    alone = build.build(runs(make_bundle))
    [said] = [leakage_and_remedy(table, alone) for table in alone.tables]
    methods = "-m ilrec -m sft -m popularity -d toy -p semantic-id -b tiny --ranker exact:budget=100"
    assert f"recbench run {methods} --protocol temporal" in said
    both = build.build([*runs(make_bundle), *runs(make_bundle, temporal=True, flip=True)])
    each = {table.protocol["name"]: leakage(table, both) for table in both.tables}
    assert each["temporal"] == ""
    # of the three pairs one is turned round: (2 - 1) / 3
    assert "is on this board, where the means of 3 methods have Kendall's tau 0.33" in each["ilrec"]


def test_the_temporal_twin_has_the_parameters_of_each_row_and_the_settings_of_all(
    make_bundle: MakeBundle,
) -> None:
    llm = {"backbone": "tiny", "paradigm": "semantic-id"}
    labels = (
        "sft[train.epochs=3.0]",
        "sdpo[beta=0.2,train.epochs=3.0]",
        "ilrec[train.epochs=3.0,train.lr=1]",
    )
    made = [make_bundle(f"m{n}", [n, 1, 2], label=label, llm=llm) for n, label in enumerate(labels)]
    [table] = build.build([*made, make_bundle("sasrec", [0, 0, 1], label="sasrec[dropout=0.3]")]).tables
    [said] = commands(table)
    words = said.split()
    assert {words[at + 1] for at, word in enumerate(words) if word == "-m"} == {
        "sft",
        "sdpo:beta=0.2",
        "ilrec:train.lr=1",
        "sasrec:dropout=0.3",
    }
    assert said.endswith("--set train.epochs=3.0 --protocol temporal --seeds 1")


def test_the_page_leads_from_a_board_to_its_twin(make_bundle: MakeBundle, tmp_path: Path) -> None:
    boards = tmp_path / "leaderboards"
    board(boards, "plain", runs(make_bundle))
    assert "no board is its temporal twin" in page(boards)
    board(boards, "strict", runs(make_bundle, temporal=True))
    assert 'Without it: <a href="strict/index.html">strict, temporal v1</a>' in page(boards)


@pytest.mark.slow
def test_the_page_of_boards_leads_to_a_table_and_a_checker_of_accessibility_finds_nothing(
    browser: Any, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    boards = tmp_path / "leaderboards"
    board(boards, "mixed", [*runs(make_bundle), *runs(make_bundle, temporal=True)])
    browser.get((boards / "index.html").as_uri())
    assert findings(browser) == []
    [link] = [one for one in browser.find_elements("css selector", "a") if one.text == "mixed, temporal v1"]
    link.click()
    [title] = [one.text for one in browser.find_elements("css selector", "h2") if "temporal" in one.text]
    assert title == "toy, protocol temporal v1"
    browser.find_element("link text", "All boards").click()
    assert browser.title == "recbench leaderboards"
